"""torchvision without torch's compiler, whose import takes longer than that of torch itself and serves nothing here.

Imported before torchvision. torchvision asks the compiler one question (`is_compile_supported`, for deterministic
algorithms on a GPU); the answer is looked up when it is asked.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")
_QUESTION = "from torch._dynamo.utils import is_compile_supported\n"


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module(_COMPILER[1]).is_compile_supported(device_type))


def _asks_that_alone() -> bool:
    """Tell whether the installed torchvision wants of the compiler what is known here, and nothing else."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    file = Path(spec.origin).parent / "ops" / "roi_align.py"
    text = file.read_text() if file.is_file() else ""
    return text.count("_dynamo") == 1 and _QUESTION in text


def _import_torchvision() -> None:
    if "torchvision" in sys.modules or any(name in sys.modules for name in _COMPILER) or not _asks_that_alone():
        return
    stand_ins = {name: ModuleType(name) for name in _COMPILER}
    stand_ins[_COMPILER[1]].is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        importlib.import_module("torchvision")
    finally:
        for name in _COMPILER:
            del sys.modules[name]


_import_torchvision()
