"""Networks as ONNX files: written from PyTorch, and compared with it in ONNX Runtime."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pose_estimation_ros.networks.efficientnet_lite import ConvNorm

OPSET = 17
_BATCHES = (1, 3)  # that files are compared at; they are written with two samples


@dataclass(frozen=True)
class NetworkExport:
    """A network as other runtimes run it: tensors in, tensors out, and the first axis of all of them is the batch."""

    name: str  # of the file, without its ending
    module: nn.Module  # in evaluation mode, on the CPU; takes the inputs in order, returns a tuple of tensors
    inputs: Callable[[int], Mapping[str, Tensor]]  # makes examples of so many samples
    outputs: tuple[str, ...]


def require_onnx() -> None:
    """Check that what is needed is installed.

    Raises:
        ValueError: if it is not, with what to do.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"export to ONNX: package {error.name} is not installed, expected onnx and onnxruntime; "
            "python -m pip install -r scripts/requirements-export.txt"
        ) from error


@torch.no_grad()
def write_onnx(network: NetworkExport, file: Path) -> None:
    """Write a network with a batch of any size; other sizes are those of its examples."""
    import onnx

    example = network.inputs(2)
    names = [*example, *network.outputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants, which all but the batch shall be
        torch.onnx.export(
            _fused(network.module),
            tuple(example.values()),
            str(file),
            input_names=list(example),
            output_names=list(network.outputs),
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=OPSET,
            dynamo=False,  # the other exporter wants packages of its own
        )
    onnx.checker.check_model(str(file))


def _fused(module: nn.Module) -> nn.Module:
    """Return a copy in which every `ConvNorm` is one convolution: ONNX wants kernels that are not computed."""
    if isinstance(module, ConvNorm):
        return module.fused()
    changed = copy.deepcopy(module)
    for name, child in list(changed.named_modules()):
        if isinstance(child, ConvNorm):
            changed.set_submodule(name, child.fused())
    return changed


@torch.no_grad()
def largest_difference(network: NetworkExport, file: Path) -> float:
    """Return the largest difference between ONNX Runtime, on the CPU, and PyTorch, over the largest value of an output.

    Raises:
        ValueError: if an output has another shape than PyTorch's.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in _BATCHES:
        example = network.inputs(count)
        expected = network.module(*example.values())
        found = session.run(list(network.outputs), {name: value.numpy() for name, value in example.items()})
        for name, ours, theirs in zip(network.outputs, expected, found, strict=True):
            if tuple(theirs.shape) != tuple(ours.shape):
                raise ValueError(f"{file}: output {name} has shape {theirs.shape}, expected {tuple(ours.shape)}")
            difference = (torch.from_numpy(theirs) - ours).abs().max() / ours.abs().max().clamp(min=1e-12)
            largest = max(largest, float(difference.nan_to_num(torch.inf)))
    return largest
