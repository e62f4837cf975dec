"""Where RViz is."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def rviz_executable() -> str:
    """Return the path of RViz.

    Raises:
        RuntimeError: if it is not installed.
    """
    try:
        path = Path(get_package_prefix("rviz2")) / "lib" / "rviz2" / "rviz2"
    except (PackageNotFoundError, OSError):  # OSError: not even a place to look in
        path = None
    if path is None or not path.is_file():
        raise RuntimeError("rviz:=true: the package rviz2 is not installed; install it, or launch with rviz:=false")
    return str(path)
