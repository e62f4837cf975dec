"""The file from which an interrupted training goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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


def checkpoint_samples(path: Path) -> int | None:
    """Return how many samples the training of a checkpoint has seen, None where it does not say."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("samples")


def recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any], besides: Collection[str] = ()) -> list[str]:
    """Say in which keys a recipe differs from an earlier one, such as `optimiser.batch = 16 instead of 48`.

    Args:
        before: the earlier recipe.
        now: the recipe.
        besides: first keys that are not compared.
    """
    one, other = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key} = {_said(other, key)} instead of {_said(one, key)}"
        for key in sorted(one.keys() | other.keys())
        if key.partition(".")[0] not in besides and _said(one, key) != _said(other, key)
    ]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _said(content: dict[str, Any], key: str) -> str:
    return repr(content[key]) if key in content else "nothing"


def _check_recipe(path: Path, before: dict[str, Any] | None, now: dict[str, Any] | None) -> None:
    if before is None or now is None:
        return
    changed = recipe_changes(before, now, _MAY_CHANGE)
    if changed:
        raise ValueError(
            f"{path}: made with another recipe ({'; '.join(changed)}); start over without --resume, take its "
            "recipe, or work in another folder (--work-dir)"
        )
