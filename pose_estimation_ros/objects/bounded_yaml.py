"""YAML from strangers: how deep and how large it becomes is known before anything is built of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.objects.limits import (
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    MAX_YAML_TEXT,
    MAX_YAML_VALUES,
    read_bounded,
)

# libyaml, where PyYAML was built with it, is ten times faster. It crashes on deep nesting, which is refused before.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Read a small YAML file of plain values.

    Raises:
        ValueError: if it is not UTF-8, too large, nested too deep, or too large once its aliases are written out.
        yaml.YAMLError: if it is no YAML.
    """
    text = read_bounded(path, MAX_YAML_BYTES).decode()
    size = _Size()
    for event in yaml.parse(text, Loader=_Loader):
        try:
            size.add(event)
        except ValueError as error:
            raise ValueError(f"line {event.start_mark.line + 1}: {error}") from None
    return yaml.load(text, Loader=_Loader)


class _Size:
    """Count the values that a text stands for: an alias counts as all that it repeats."""

    def __init__(self) -> None:
        self._anchored: dict[str, int] = {}
        self._open: list[tuple[str | None, int]] = []  # anchor and number of values so far, from the outermost on

    def add(self, event: Any) -> None:
        """Take what comes next in the text.

        Raises:
            ValueError: if it is too deep, too long, or the values become too many.
        """
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open.append((event.anchor, 1))
            if len(self._open) > MAX_YAML_DEPTH:
                raise ValueError(f"nested deeper than {MAX_YAML_DEPTH} levels")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(*self._open.pop())
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_YAML_TEXT:
                raise ValueError(f"a value of {len(event.value)} characters: expected at most {MAX_YAML_TEXT}")
            self._close(event.anchor, 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in self._open):
                raise ValueError(f"alias {event.anchor!r} refers to itself")
            self._close(None, self._anchored.get(event.anchor, 1))

    def _close(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._anchored[anchor] = size
        if self._open:
            outer, count = self._open[-1]
            size += count
            self._open[-1] = outer, size
        if size > MAX_YAML_VALUES:
            raise ValueError(f"more than {MAX_YAML_VALUES} values once aliases are written out")
