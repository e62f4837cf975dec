"""What came with the package beside its modules: bundles, configuration."""

from __future__ import annotations

import os
from pathlib import Path


def shipped(folder: str) -> list[Path]:
    """Return the folders of this name that exist: in this clone, then in the workspaces the package is installed in."""
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    shares = [Path(prefix) / "share" / "pose_estimation_ros" for prefix in prefixes]
    return [path for root in (Path(__file__).resolve().parents[1], *shares) if (path := root / folder).is_dir()]
