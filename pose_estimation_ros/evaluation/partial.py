"""Files with what is finished of a long run, a line of JSON each: an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def partial_file(output: Path, number: int = 0) -> Path:
    """Return where the finished images of a run lie until it is complete, those of one of its processes."""
    return output.with_name(f"{output.name}.partial{f'.{number}' if number else ''}.jsonl")


def begin_partial(path: Path, settings: Mapping[str, Any], done: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write a file with what is finished already.

    Args:
        path: the file.
        settings: what the results depend on.
        done: results, as JSON takes them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"settings": settings}), *(json.dumps(entry) for entry in done)]
    path.write_text("\n".join(lines) + "\n")


def append_partial(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a result."""
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def read_partial(path: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a file.

    Raises:
        ValueError: if they were made under other settings.
    """
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
