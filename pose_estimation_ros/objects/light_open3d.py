"""Open3D without dash, the web server that it plots with: it is slow to import and serves nothing here.

    from pose_estimation_ros.objects.light_open3d import open3d

Its functions that plot import the server when they are called.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_PLOTTING = "open3d.visualization.draw_plotly"
_IMPORTS = re.compile(r"^from \.draw_plotly import (\w+)$", re.MULTILINE)


def _plotting_functions() -> list[str]:
    """Return what the installed Open3D imports of its plotting, nothing where it does so in another way."""
    spec = find_spec("open3d")
    if spec is None or spec.origin is None:
        return []
    file = Path(spec.origin).parent / "visualization" / "__init__.py"
    text = file.read_text() if file.is_file() else ""
    names = _IMPORTS.findall(text)
    return names if text.count("draw_plotly import") == len(names) else []


def _stand_in(name: str) -> Any:
    def plot(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(_PLOTTING), name)(*arguments, **options)

    return plot


@contextmanager
def _without_plotting() -> Iterator[None]:
    """Let something else stand where Open3D's plotting is looked for."""
    names = [] if "open3d" in sys.modules else _plotting_functions()
    if not names:
        yield
        return
    module = ModuleType(_PLOTTING)
    vars(module).update({name: _stand_in(name) for name in names})
    sys.modules[_PLOTTING] = module
    try:
        yield
    finally:
        del sys.modules[_PLOTTING]


with _without_plotting():
    import open3d

__all__ = ["open3d"]
