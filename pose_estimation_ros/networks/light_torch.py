"""PyTorch without those kernels for tensors without data that are written in Python; importing them takes long.

Imported before torch, in processes that run networks and neither compile nor export them. Whoever asks for the modules
behind those kernels, such as torch's compiler, gets all of it. Operations on tensors of the device "meta" that need one
of them do not work until `torch._meta_registrations` is imported.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_KERNELS = "torch._meta_registrations"
_IMPORT = "    from torch import _meta_registrations\n"
_NEED_THEM = {_KERNELS, "torch._decomp", "torch._dynamo", "torch._prims", "torch._refs"}


class _Imported(Loader):
    """Hand out a module that was imported while it was looked for, as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Completion(MetaPathFinder):
    """Import what was left out before the first module that relies on it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._begun = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _NEED_THEM:
            return None
        with self._lock:  # other threads wait until all of it is there
            if self._begun or fullname == _KERNELS:
                return None
            self._begun = True
            importlib.import_module(_KERNELS)
            sys.meta_path.remove(self)
        if fullname not in sys.modules:
            return None
        module = sys.modules[fullname]
        module.__spec__ = ModuleSpec(fullname, _Imported(module))  # Python takes that of a module that came meanwhile
        return module.__spec__


def _imports_them_last() -> bool:
    """Tell whether the installed torch imports them for their effect alone, as it is known here."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).read_text(encoding="utf-8")
    return text.count(" _meta_registrations") == 1 and _IMPORT in text


def _import_torch() -> None:
    if "torch" in sys.modules or not _imports_them_last():
        return
    sys.modules[_KERNELS] = ModuleType(_KERNELS)
    try:
        torch = importlib.import_module("torch")
    finally:
        del sys.modules[_KERNELS]
    del torch._meta_registrations
    if any(name in sys.modules for name in _NEED_THEM):  # something that torch imports relies on them: another backend
        importlib.import_module(_KERNELS)
    else:
        sys.meta_path.insert(0, _Completion())


_import_torch()
