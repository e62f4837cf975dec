"""Files with what is finished of a long run, a line of JSON each: an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def partial_file(output: Path, number: int = 0) -> Path:
    """Return where the finished images of a run lie until it is complete, those of one of its processes."""
    return output.with_name(f"{output.name}.partial{f'.{number}' if number else ''}.jsonl")


def begin_partial(path: Path | None, settings: Mapping[str, Any], resume: bool) -> list[dict[str, Any]]:
    """Begin a file of finished results, or go on with one.

    Args:
        path: the file; None keeps nothing.
        settings: what the results depend on.
        resume: go on with the results that the file holds already, if it is there.

    Returns:
        These results.

    Raises:
        ValueError: if they were made under other settings.
    """
    if path is None:
        return []
    done = _read(path, settings) if resume and path.is_file() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"settings": settings}), *(json.dumps(entry) for entry in done)]
    path.write_text("\n".join(lines) + "\n")
    return done


def append_partial(path: Path | None, entry: Mapping[str, Any]) -> None:
    """Add a result, where results are kept."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _read(path: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines()
    before, wanted = json.loads(lines[0]).get("settings", {}) if lines else {}, json.loads(json.dumps(settings))
    for key in sorted(set(before) | set(wanted)):
        if before.get(key) != wanted.get(key):
            raise ValueError(
                f"{path}: made with {key} = {before.get(key)!r}, expected {wanted.get(key)!r}; "
                "run without --resume to start over"
            )
    entries = []
    for line in lines[1:]:
        try:
            entries.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed while writing
            break
    return entries
