"""Networks say in ONNX Runtime what they say in PyTorch, for batches of any size."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.cli.export import main
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.efficientnet_lite import ConvNorm, EfficientNetLite0
from pose_estimation_ros.networks.feature_mapping import FeatureMapping
from pose_estimation_ros.networks.onnx_file import NetworkExport, largest_difference, write_onnx

ROOT = Path(__file__).resolve().parents[2]
HAS_ONNX = all(find_spec(name) is not None for name in ("onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(
    not HAS_ONNX, reason="onnx and onnxruntime are not installed: scripts/requirements-export.txt"
)


class _Doubled(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor]:
        return (2.0 * values,)


class _Tripled(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor]:
        return (3.0 * values,)


def exported(module: nn.Module) -> NetworkExport:
    return NetworkExport("scaled", module, lambda count: {"values": torch.ones(count, 4)}, ("scaled",))


@needs_onnx
def test_the_difference_is_that_of_the_outputs(tmp_path: Path):
    file = tmp_path / "scaled.onnx"
    write_onnx(exported(_Doubled()), file)
    assert largest_difference(exported(_Doubled()), file) == 0.0
    assert largest_difference(exported(_Tripled()), file) == pytest.approx(1.0 / 3.0)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["demo", "generic", "hands"])
def test_every_network_of_a_bundle_is_the_same_there(bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--bundle", str(ROOT / "models" / bundle), "--onnx", str(tmp_path)]) == 0
    files = {file.stem for file in tmp_path.glob("*.onnx")}
    expected = {
        "demo": {"detector_dense", "detector_boxes", "detector_masks", "pix2pose", "heatmaps", "nemo"},
        "generic": {"proposals_dense", "proposals_boxes", "proposals_masks", "descriptors"},
        "hands": {"hands", "hands_centre"},
    }
    assert expected[bundle] <= files
    assert bundle == "hands" or any(name.startswith("attention_") for name in files)
    assert "largest relative difference" in capsys.readouterr().out


@needs_onnx
def test_encoders_that_fold_their_normalisation_have_fixed_kernels_in_the_file(tmp_path: Path):
    """A kernel that is computed in the graph has no size that ONNX knows."""
    encoder = EfficientNetLite0(stages=1).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, values: Tensor) -> tuple[Tensor]:
            return (self.encoder(values)[0],)

    network = NetworkExport("encoder", First().eval(), lambda count: {"values": torch.rand(count, 3, 32, 32)}, ("map",))
    write_onnx(network, tmp_path / "encoder.onnx")
    assert largest_difference(network, tmp_path / "encoder.onnx") < 1e-4
    assert any(isinstance(module, ConvNorm) for module in encoder.modules())  # the network itself is as before


@needs_onnx
@pytest.mark.parametrize("shape", [(4,), (4, 3, 5)])
def test_mapped_features_are_the_same_in_the_file(tmp_path: Path, shape: tuple[int, ...]):
    mapping = FeatureMapping([4]).eval()
    for value in mapping.parameters():
        nn.init.normal_(value)

    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mapping = mapping

        def forward(self, values: Tensor) -> tuple[Tensor]:
            return (self.mapping([values])[0],)

    network = NetworkExport(
        "mapping", Mapped().eval(), lambda count: {"values": torch.ones(count, *shape)}, ("mapped",)
    )
    write_onnx(network, tmp_path / "mapping.onnx")
    assert largest_difference(network, tmp_path / "mapping.onnx") < 1e-5


@needs_onnx
def test_the_refiner_solves_for_its_update_in_the_file(tmp_path: Path):
    """Without the solver and the strides that ONNX lacks, and with the mapping of what the image shows."""
    torch.manual_seed(0)
    network = AttentionNet(widths=[8, 8], blocks=[1, 1], hidden=8, mapping=True).eval()
    for parameter in network.mapping.parameters():
        nn.init.normal_(parameter, std=0.3)
    nn.init.normal_(network.out.weight, std=0.3)  # an update of nothing is nothing but rounding

    class Update(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, observed: Tensor, rendered: Tensor, distance: Tensor, extent: Tensor) -> tuple[Tensor, ...]:
            found = self.network(observed, rendered, distance, extent, is_real=True)
            return found.shift, found.log_distance, found.axis_angle, found.log_error

    def inputs(count: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        line = torch.linspace(-0.6, 0.6, 32)
        x, y = line[None, :].expand(32, 32), line[:, None].expand(32, 32)
        bump = torch.stack([x, y, -(1.0 - x**2 - y**2).sqrt(), torch.ones_like(x)])  # a part of a ball, and its mask
        colors = torch.rand(count, 3, 32, 32, generator=generator)
        rendered = torch.cat([colors, bump.expand(count, 4, 32, 32)], dim=1)
        observed = torch.rand(count, 3, 32, 32, generator=generator)
        return {"observed": observed, "rendered": rendered, "distance": torch.full((count,), 4.0),
                "extent": torch.full((count,), 1.3)}  # fmt: skip

    outputs = ("shift", "log_distance", "axis_angle", "log_error")
    found = NetworkExport("update", Update().eval(), inputs, outputs)
    write_onnx(found, tmp_path / "update.onnx")
    assert largest_difference(found, tmp_path / "update.onnx") < 1e-3


def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["--bundle", "demo", "--onnx", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "package onnx is not installed, expected onnx and onnxruntime" in said
    assert "requirements-export.txt" in said


@needs_onnx
def test_methods_that_cannot_be_exported_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--bundle", str(ROOT / "models" / "demo"), "--onnx", str(tmp_path), "--method", "patches"]) == 2
    assert "--method patches: expected one of attention" in capsys.readouterr().err
