"""What recipes say of encoders: what they start from, how fast they learn, and what bundles remember of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pose_estimation_ros.methods.attention.training import AttentionRecipe
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.heatmaps.training import HeatmapsRecipe
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.methods.pix2pose.training import Pix2PoseRecipe, train_pix2pose
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder
from pose_estimation_ros.networks.heatmap_net import HeatmapNet
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle, save_weights
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel, catalog_from_bop
from pose_estimation_ros.training.crop_source import load_start
from pose_estimation_ros.training.encoder_recipe import encoder_of, encoder_rates, keep_statistics, rate_of_encoder
from pose_estimation_ros.training.scene_training import DetectorRecipe, Target, new_network
from pose_estimation_ros.training.trainer import TrainingRun

from .test_pretrained import install_weights, made_up_state

ORIGIN = {"weights": "imagenet", "package": "somewhere", "licence": "Apache-2.0"}
SMALL: dict[str, Any] = {"channels": 8, "box_hidden": 8}
DETECTOR = Target("detector", 1)


def bundle_with(
    folder: Path, role: str, network: nn.Module, origin: dict[str, str] | None = None, **architecture: Any
) -> Bundle:
    corners = ((-0.05,) * 3, (0.05,) * 3)
    folder.mkdir(exist_ok=True)
    catalog = Catalog((ObjectModel(1, "cube", 0.1, corners, Path("cube.ply")),))
    training = {"public_weights": origin} if origin else {}
    bundle = Bundle(folder, folder.name, catalog, {}, PosePrior())
    return save_weights(bundle, role, network.state_dict(), architecture, 64, training)


def pix2pose(encoder: str) -> Pix2PoseNet:
    torch.manual_seed(1)
    return Pix2PoseNet(1, decoder=(8, 8, 8), bins=4, encoder=encoder)


def patches(encoder: str, frozen: bool = False) -> HeatmapNet:
    return HeatmapNet(1, 2, hidden=8, trunk="encoder", frozen=frozen, encoder=encoder)


def test_public_weights_take_the_place_of_another_networks_encoder():
    recipe = HeatmapsRecipe.model_validate({"pretrained": "imagenet"})
    assert recipe.encoder_from is None
    assert HeatmapsRecipe.model_validate(recipe.model_dump()) == recipe
    assert HeatmapsRecipe().encoder_from == "pix2pose"


@pytest.mark.parametrize("other", [{"encoder_from": "pix2pose"}, {"initial": "lmo"}])
def test_two_starts_are_refused(other: dict[str, str]):
    (name, value), *_ = other.items()
    with pytest.raises(ValueError, match=f"pretrained = 'imagenet' and {name} = '{value}': expected one of them"):
        HeatmapsRecipe.model_validate({"pretrained": "imagenet", **other})


def test_recipes_of_detectors_that_were_written_before_are_read():
    assert DetectorRecipe.model_validate({"pretrained": True}).pretrained == "coco"
    assert DetectorRecipe.model_validate({"pretrained": False}).pretrained is None


@pytest.mark.parametrize(
    "keys", [{"pretrained": "imagenet"}, {"encoder_rate": 0.0}, {"frozen_statistics": True}, {"frozen_stages": 2}]
)
def test_networks_without_an_encoder_refuse_what_is_said_of_one(keys: dict[str, Any]):
    network = HeatmapNet(1, 2, (4, 4, 4, 4, 8), 8)
    (name, value), *_ = keys.items()
    assert encoder_of(network, HeatmapsRecipe()) is None
    with pytest.raises(ValueError, match=f"^{name} = {value!r}: this network has no encoder"):
        encoder_of(network, HeatmapsRecipe.model_validate(keys))


def test_a_frozen_encoder_has_no_rate_but_zero():
    network = patches("own", frozen=True)
    assert rate_of_encoder(network, HeatmapsRecipe()) == rate_of_encoder(network, HeatmapsRecipe(encoder_rate=0)) == 0.0
    with pytest.raises(ValueError, match=r"encoder_rate = 0\.3: network\.frozen = true; expected 0"):
        rate_of_encoder(network, HeatmapsRecipe(encoder_rate=0.3))
    assert rate_of_encoder(patches("own"), HeatmapsRecipe()) == 1.0
    assert rate_of_encoder(patches("own"), AttentionRecipe(encoder_rate=0.3)) == 0.3


@pytest.mark.parametrize("kind", ["own", "lite0"])
def test_the_first_stages_may_stay_as_they_are(kind: EncoderKind):
    network = pix2pose(kind).train()
    recipe = HeatmapsRecipe(frozen_stages=2, encoder_rate=0.1)
    factors = encoder_rates(network.encoder, recipe, 0.1, "encoder.")
    rates = {
        name: next(value for start, value in factors.items() if name.startswith(start))
        for name, _ in network.named_parameters()
        if name.startswith("encoder.")
    }
    stays = ("encoder.stem.", "encoder.stages.0.", "encoder.stages.1.")
    assert all(rate == (0.0 if name.startswith(stays) else 0.1) for name, rate in rates.items())
    keep_statistics(network.encoder, recipe, 0.1)
    in_training = [part.training for part in (network.encoder.stem, *network.encoder.stages)]
    assert in_training == [False, False, False, True, True]
    with pytest.raises(ValueError, match="frozen_stages = 4: this encoder has 3"):
        encoder_rates(make_encoder(kind, stages=3), HeatmapsRecipe(frozen_stages=4), 1.0, "encoder.")


def test_encoders_of_one_kind_go_from_network_to_network(tmp_path: Path):
    bundle = bundle_with(tmp_path, "pix2pose", pix2pose("lite0"), ORIGIN, encoder="lite0")
    network = patches("lite0", frozen=True)
    assert load_start(network, bundle, "heatmaps", "pix2pose", None) == ORIGIN
    detector, architecture, origin = new_network(bundle, DetectorRecipe(network=SMALL), DETECTOR)
    assert (architecture["encoder"], origin) == ("lite0", ORIGIN)
    weights = bundle.weights("pix2pose")
    for encoder in (network.encoder, detector.backbone.encoder):
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, weights[f"encoder.{name}"].to(value.dtype))


@pytest.mark.parametrize(("theirs", "ours"), [("own", "lite0"), ("lite0", "own")])
def test_encoders_of_two_kinds_do_not(theirs: str, ours: str, tmp_path: Path):
    bundle = bundle_with(tmp_path, "pix2pose", pix2pose(theirs), encoder=theirs)
    message = f"encoder_from = 'pix2pose': .* has encoder '{theirs}', this one has '{ours}'; expected .*: {theirs}"
    with pytest.raises(ValueError, match=message):
        load_start(patches(ours), bundle, "heatmaps", "pix2pose", None)
    with pytest.raises(ValueError, match=message):
        new_network(bundle, DetectorRecipe(network={**SMALL, "encoder": ours}), DETECTOR)
    other = bundle_with(tmp_path / "other", "heatmaps", patches(theirs), encoder=theirs)
    with pytest.raises(ValueError, match=f"initial = .*has encoder '{theirs}', this one has '{ours}'"):
        load_start(patches(ours), bundle, "heatmaps", None, str(other.path))


def test_an_encoder_that_is_not_to_learn_has_to_come_from_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = bundle_with(tmp_path, "pix2pose", pix2pose("own"))
    with pytest.raises(ValueError, match="encoder_rate = 0: bundle .*take pretrained weights"):
        load_start(patches("lite0"), bundle, "heatmaps", None, None, frozen=True)
    install_weights(monkeypatch, tmp_path / "weights.pth", made_up_state())
    load_start(patches("lite0"), bundle, "heatmaps", None, None, "imagenet", frozen=True)


def trained(folder: Path, data: Path, **changes: Any) -> Bundle:
    """Train pix2pose with lite0 for as many steps as an average takes."""
    folder.mkdir()
    bundle = Bundle(folder / "bundle", "trial", catalog_from_bop(data / "models"), {}, PosePrior(), meshes=None)
    save_bundle(bundle)
    training = find_training("pix2pose")
    assert training.trial is not None
    recipe = dict(import_object(training.trial).recipe) | {
        "network": {"encoder": "lite0", "decoder": [8, 8, 8], "bins": 4},
        "stages": [{"size": 32, "samples": 32}],
        "pretrained": "imagenet",
        **changes,
    }
    recipe["optimiser"] = {**recipe["optimiser"], "batch": 4}
    run = TrainingRun(bundle, folder / "run", data / "models")
    train_pix2pose(run, Pix2PoseRecipe.model_validate(recipe))
    return load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("changes", "learns", "statistics_move"),
    [
        ({}, True, True),
        ({"frozen_statistics": True}, True, False),
        ({"encoder_rate": 0.0}, False, False),
    ],
)
def test_what_of_an_encoder_moves(
    changes: dict[str, Any],
    learns: bool,
    statistics_move: bool,
    tiny_bop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    start = pix2pose("lite0").encoder.state_dict()
    weights = {name: value.half().float() if value.is_floating_point() else value for name, value in start.items()}
    monkeypatch.setattr("pose_estimation_ros.training.crop_source.load_pretrained", loader(weights))
    bundle = trained(tmp_path / "trial", tiny_bop, **changes)
    assert bundle.networks["pix2pose"].training["public_weights"] == ORIGIN
    after = {name.removeprefix("encoder."): value for name, value in bundle.weights("pix2pose").items()}
    moved = {name for name, value in weights.items() if not torch.equal(after[name].to(value.dtype), value)}
    assert any("running" in name for name in moved) == statistics_move
    assert any("running" not in name and "tracked" not in name for name in moved) == learns


def loader(weights: dict[str, torch.Tensor]) -> Callable[[nn.Module, str], dict[str, str]]:
    def load(encoder: nn.Module, name: str) -> dict[str, str]:
        encoder.load_state_dict(weights)
        return ORIGIN

    return load
