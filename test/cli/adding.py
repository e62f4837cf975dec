"""pose_add as the tests of it call it."""

from __future__ import annotations

from pathlib import Path

from pose_estimation_ros.cli.add import main


def add(folder: Path, generic: Path, *more: str) -> int:
    return main(["--bundle", str(folder / "mine"), "--generic", str(generic), "--unit", "mm", *more])
