"""Encoders go from one network of a bundle to another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.networks.heatmap_net import HeatmapNet
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, save_weights
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.training.crop_source import load_start


def empty_bundle(path: Path) -> Bundle:
    corners = ((-0.05,) * 3, (0.05,) * 3)
    return Bundle(path, path.name, Catalog((ObjectModel(1, "cube", 0.1, corners, Path("cube.ply")),)), {}, PosePrior())


def bundle_with_pix2pose(path: Path) -> Bundle:
    widths, blocks, decoder = [8, 16, 24, 32], [1, 2, 1, 1], [16, 16, 16]
    torch.manual_seed(1)
    network = Pix2PoseNet(1, widths, blocks, decoder)
    architecture = {"widths": widths, "blocks": blocks, "decoder": decoder}
    return save_weights(empty_bundle(path), "pix2pose", network.state_dict(), architecture, 64, {})


def patches(widths: tuple[int, int, int] = (8, 16, 32), frozen: bool = True) -> HeatmapNet:
    return HeatmapNet(1, 2, widths, 32, "encoder", frozen)


def test_the_stages_that_both_have_are_taken_over(tmp_path: Path) -> None:
    bundle, network = bundle_with_pix2pose(tmp_path), patches()
    load_start(network, bundle, "heatmaps", "pix2pose", None)
    weights = bundle.weights("pix2pose")
    for key, value in network.encoder.state_dict().items():
        torch.testing.assert_close(value, weights[f"encoder.{key}"])


def test_a_frozen_encoder_has_to_come_from_somewhere(tmp_path: Path) -> None:
    bundle = empty_bundle(tmp_path)
    with pytest.raises(ValueError, match="frozen = true: bundle '.*' has no network 'pix2pose' .*train it first"):
        load_start(patches(), bundle, "heatmaps", "pix2pose", None)
    load_start(patches(frozen=False), bundle, "heatmaps", "pix2pose", None)


def test_an_earlier_network_may_bring_the_frozen_encoder(tmp_path: Path) -> None:
    torch.manual_seed(2)
    earlier, network = patches(), patches()
    folder = tmp_path / "earlier"
    folder.mkdir()
    save_weights(empty_bundle(folder), "heatmaps", earlier.state_dict(), {}, 64, {})
    load_start(network, empty_bundle(tmp_path), "heatmaps", "pix2pose", str(folder))
    for key, value in network.encoder.state_dict().items():
        torch.testing.assert_close(value, earlier.encoder.state_dict()[key], atol=1e-3, rtol=1e-3)  # kept as float16


def test_an_earlier_network_without_an_encoder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "earlier"
    folder.mkdir()
    small = HeatmapNet(1, 2, (4, 4, 4, 4, 32), 32)
    save_weights(empty_bundle(folder), "heatmaps", small.state_dict(), {}, 64, {})
    with pytest.raises(ValueError, match=r"\(encoder\..*\), nor has network 'heatmaps' of bundle '.*earlier'"):
        load_start(patches(), empty_bundle(tmp_path), "heatmaps", "pix2pose", str(folder))


def test_a_frozen_encoder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    bundle = bundle_with_pix2pose(tmp_path)
    with pytest.raises(ValueError, match=r"'pix2pose' with an encoder that fits \(encoder\.stages\.1\."):
        load_start(patches((8, 12, 32)), bundle, "heatmaps", "pix2pose", None)
    load_start(patches((8, 12, 32), frozen=False), bundle, "heatmaps", "pix2pose", None)
