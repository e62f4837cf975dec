"""A CUDA device that is none: tensors that say they are on `cuda:0` and compute with values on the CPU.

Torch's own FakeTensorMode has no values, so that nothing behind the first decision can run under it. Here whole methods
run, and what they cannot do on a GPU is refused as a GPU refuses it: tensors of two devices in one operation, NumPy
arrays of tensors on the device, generators of another device. Where the host has to wait for the device is written
down, with the line of the package that asked for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pose_estimation_ros.geometry.transfer import forget_constants
from pose_estimation_ros.rendering import raycaster
from pose_estimation_ros.rendering.embree_engine import EmbreeEngine
from pose_estimation_ros.rendering.ray_engine import RayHits

CUDA = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_PACKAGE = str(Path(raycaster.__file__).parents[1])
_aten = torch.ops.aten

# Operations whose result's shape, or whose error, depends on values: the host waits for them.
_WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "is_nonzero",
    "bincount",
    "_linalg_check_errors",
    "nms",
}
_COPIES = {"_to_copy", "copy_"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


@dataclass
class Log:
    """Where the host waited for the device, and what was sent there."""

    waits: Counter[str] = field(default_factory=Counter)  # by operation and place
    uploads: list[tuple[int, str]] = field(default_factory=list)  # bytes and place

    def clear(self) -> None:
        self.waits.clear()
        self.uploads.clear()

    @property
    def count(self) -> int:
        return self.waits.total()


_log = Log()


class OnDevice(torch.Tensor):
    """A tensor on the device that is none."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # checkpoints are read on any device

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.inner})"


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


_generators: dict[int, _Generator] = {}  # on the device, by what operations know of them


class _Generator(torch.Generator):
    """A generator that says where it is."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls)
        if torch.device(device).type == "cuda":
            _generators[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:
        return CUDA if self._cdata in _generators else _CPU


def _dispatched(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [item for item in tree_leaves((args, kwargs)) if isinstance(item, torch.Tensor)]
    wanted = kwargs.get("device")
    on_device = any(isinstance(item, OnDevice) for item in tensors)
    result_on = on_device if wanted is None else torch.device(wanted).type == "cuda"
    name = func._overloadpacket.__name__
    _refuse(name, tensors, kwargs.get("generator"), result_on)
    if on_device or result_on:
        _write_down(name, args, kwargs, tensors, result_on)
    out = func(*tree_map(_on_host, args), **tree_map(_on_host, kwargs))
    if not result_on:
        return out
    written = _written(func, args, kwargs)
    if written is not None:
        return written
    return tree_map(lambda item: OnDevice(item) if _is_plain(item) else item, out)


def _written(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation writes to, which is what it returns; None if it makes something new."""
    if not func._schema.returns or func._schema.returns[0].alias_info is None:
        return None
    targets = [
        args[number] if number < len(args) else kwargs.get(argument.name)
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return None if not targets else targets[0] if len(targets) == 1 else tuple(targets)


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, OnDevice)


def _on_host(value: Any) -> Any:
    if isinstance(value, OnDevice):
        return value.inner
    return _CPU if isinstance(value, torch.device) else value


def _refuse(name: str, tensors: Sequence[torch.Tensor], generator: Any, result_on: bool) -> None:
    """Raise what CUDA raises where devices do not fit."""
    if generator is not None and (generator._cdata in _generators) != result_on:
        raise RuntimeError(f"{name}: expected a '{'cuda' if result_on else 'cpu'}' generator at {_place()}")
    if name in _COPIES or not any(isinstance(item, OnDevice) for item in tensors):
        return
    if name in _INDEXING:  # takes indices of the host, and sends them
        tensors = tensors[:1]
    if any(_is_plain(item) and item.ndim > 0 for item in tensors):
        raise RuntimeError(f"{name}: expected all tensors on one device, found cuda:0 and cpu, at {_place()}")


def _write_down(name: str, args: Any, kwargs: Any, tensors: Sequence[torch.Tensor], result_on: bool) -> None:
    if name == "copy_":
        target, source = args[:2]
        _copied(source, isinstance(target, OnDevice), kwargs)
    elif name == "_to_copy":
        _copied(args[0], result_on, kwargs)
    elif name in _INDEXING:
        indices = [item for item in args[1] if item is not None]
        is_fill = name != "index" and args[2].numel() == 1
        for item in indices:
            if _is_plain(item) and item.ndim > 0:
                _copied(item, True, {})
            if item.dtype in (torch.bool, torch.uint8) and not is_fill:
                _log.waits[f"boolean index at {_place()}"] += 1
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        _log.waits[f"repeat_interleave at {_place()}"] += 1
    elif name in _WAITING and any(isinstance(item, OnDevice) for item in tensors):
        _log.waits[f"{name} at {_place()}"] += 1


def _copied(source: torch.Tensor, to_device: bool, kwargs: Any) -> None:
    if isinstance(source, OnDevice) and not to_device:
        if kwargs.get("non_blocking"):
            return  # whoever fetches so has to synchronise
        _log.waits[f"copy to the host at {_place()}"] += 1
    elif _is_plain(source) and to_device:
        _log.uploads.append((source.nbytes, _place()))
        if not (kwargs.get("non_blocking") and getattr(source, "is_pinned_here", False)):
            _log.waits[f"copy of unpinned memory at {_place()}"] += 1


def _place() -> str:
    """Return the innermost line of the package that is at work."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return f"{frame.f_code.co_filename[len(_PACKAGE) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "the test"


class _Engine:
    """Casts rays that are on the device."""

    def __init__(self, meshes: list[Any]) -> None:
        self.device = CUDA
        self._embree = EmbreeEngine(meshes)

    def cast(self, mesh: Any, origins: torch.Tensor, directions: torch.Tensor) -> RayHits:
        assert isinstance(origins, OnDevice) and isinstance(directions, OnDevice)
        hits = self._embree.cast(_on_host(mesh), origins.inner, directions.inner)
        return RayHits(OnDevice(hits.distance), OnDevice(hits.face), OnDevice(hits.barycentric))


def _engine(meshes: list[Any], engine: str = "auto", device: Any = "cpu") -> Any:
    return _Engine(meshes) if torch.device(device).type == "cuda" else EmbreeEngine(meshes)


def _tolist(original: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
    def tolist(self: torch.Tensor) -> Any:
        if not isinstance(self, OnDevice):
            return original(self)
        _log.waits[f"tolist at {_place()}"] += 1
        return original(self.inner)

    return tolist


@contextmanager
def pretended_cuda() -> Iterator[Log]:
    """Give this machine a CUDA device until the end of the context; returns what is written down of it."""
    torch._C._ensureCUDADeviceGuardSet()
    before = torch._C._only_lift_cpu_tensors(), torch.__future__.get_overwrite_module_params_on_conversion()
    _log.clear()
    forget_constants()
    with ExitStack() as stack:
        patch = lambda *what: stack.enter_context(mock.patch.object(*what))  # noqa: E731
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # its operations have no other kernels
        patch(torch.cuda, "_lazy_init", lambda: None)
        patch(torch.cuda, "synchronize", lambda *_: _log.waits.update([f"synchronize at {_place()}"]))
        patch(torch.cuda, "manual_seed", lambda _: None)
        patch(torch, "Generator", _Generator)
        patch(torch.Tensor, "tolist", _tolist(torch.Tensor.tolist))
        patch(torch.Tensor, "pin_memory", _pinned)
        patch(torch.Tensor, "backward", _backward)
        patch(torch.autograd, "grad", _grad)
        # Tensors of inference mode are refused by what stands above the operations.
        patch(torch.inference_mode, "__enter__", _enter_no_grad)
        patch(torch.inference_mode, "__exit__", _exit_no_grad)
        patch(raycaster, "make_engine", _engine)
        torch._C._set_only_lift_cpu_tensors(True)  # so that constants are seen to be sent
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with _Mode():
                yield _log
        finally:
            forget_constants()
            torch._C._set_only_lift_cpu_tensors(before[0])
            torch.__future__.set_overwrite_module_params_on_conversion(before[1])


def _pinned(self: torch.Tensor) -> torch.Tensor:
    copy = self.clone()
    copy.is_pinned_here = True
    return copy


def _enter_no_grad(self: torch.inference_mode) -> None:
    self.no_grad = torch.no_grad()
    self.no_grad.__enter__()


def _exit_no_grad(self: torch.inference_mode, *error: Any) -> None:
    self.no_grad.__exit__(*error)


def _backward(self: torch.Tensor) -> None:
    """Compute gradients without torch's engine, which wants a driver."""
    for leaf, gradient in _gradients(self).items():
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def _grad(output: torch.Tensor, inputs: Sequence[torch.Tensor], **_: Any) -> tuple[torch.Tensor, ...]:
    found = _gradients(output)
    return tuple(found[item] for item in inputs)


@torch.no_grad()
def _gradients(output: torch.Tensor) -> dict[torch.Tensor, torch.Tensor]:
    """Return the gradients of a scalar with respect to all leaves."""
    pending: dict[Any, list[Any]] = {output.grad_fn: [torch.ones_like(output)]}
    found: dict[torch.Tensor, torch.Tensor] = {}
    for node in _in_order(output.grad_fn):
        given = pending.pop(node, None)
        if given is None:
            continue
        given = [_fitted(item, shape) for item, shape in zip(given, node._input_metadata, strict=False)]
        if hasattr(node, "variable"):
            found[node.variable] = given[0]
            continue
        results = node.apply(*given) if hasattr(node, "apply") else node(*given)
        results = results if isinstance(results, tuple) else (results,)
        for (following, place), item in zip(node.next_functions, results, strict=False):
            if following is None or item is None:
                continue
            slots = pending.setdefault(following, [])
            slots.extend([None] * (place + 1 - len(slots)))
            item = _fitted(item, following._input_metadata[place])
            slots[place] = item if slots[place] is None else slots[place] + item
    return found


def _fitted(gradient: Any, like: Any) -> Any:
    """Sum what was broadcast, and give the gradient its format."""
    if gradient is None:
        return None
    gradient = gradient if gradient.shape == like.shape else gradient.sum_to_size(like.shape)
    return gradient.to(like.dtype)


def _in_order(root: Any) -> list[Any]:
    """Return the nodes of a graph, each before those that follow it."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((following, False) for following, _ in node.next_functions if following is not None)
    return order[::-1]
