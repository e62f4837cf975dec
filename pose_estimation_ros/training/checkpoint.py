"""The file from which an interrupted training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_FORMAT = 2  # 1, which says nothing of it, knows neither the number of steps nor how their batches are seeded
_MAY_CHANGE = {"samples", "stages", "workers"}  # of a recipe between a checkpoint and its resumption


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; the old one stays until the new one is complete."""
    temporary = path.with_suffix(".part")
    torch.save({"format": _FORMAT, **content}, temporary)
    temporary.replace(path)


def read_checkpoint(path: Path, recipe: dict[str, Any] | None, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        path: the file.
        recipe: of the training that wants to go on; without one none is compared.
        device: where the weights go.

    Raises:
        ValueError: if it is of another recipe, or of a version whose trainings cannot go on as if never interrupted.
    """
    content = torch.load(path, map_location=device, weights_only=True)
    if content.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: format {content.get('format', 1)}, expected {_FORMAT}: another version of this package wrote it, "
            "and the training would not go on as it began; start over without --resume (the weights so far are in the "
            "bundle, where `initial: BUNDLE` in a recipe finds them)"
        )
    _check_recipe(path, content["recipe"], recipe)
    return content


def _check_recipe(path: Path, before: dict[str, Any] | None, now: dict[str, Any] | None) -> None:
    if before is None or now is None:
        return
    changed = [
        f"{key} = {now.get(key)!r} instead of {before.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if key not in _MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f"{path}: made with another recipe ({'; '.join(changed)}); start over without --resume, take its "
            "recipe, or work in another folder (--work-dir)"
        )
