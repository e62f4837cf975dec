"""Change the frames of a bundle's objects where bundle.yaml says them, and leave everything else as it was written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pose_estimation_ros.objects.bundle_file import BundleFile, FrameEntry
from pose_estimation_ros.objects.bundle_text import BUNDLE_FILE, read_bundle_file, text_of, write_bundle_text

Frames = Mapping[str, FrameEntry]  # of one object, by name


def read_frames(folder: Path) -> dict[str, dict[str, FrameEntry]]:
    """Return the frames of all objects as bundle.yaml says them, by the object's name.

    Raises:
        BundleError: naming what is wrong in the file.
    """
    return {entry.name: dict(entry.frames) for entry in read_bundle_file(folder)[0].objects}


def save_frames(folder: Path, frames: Mapping[str, Frames]) -> None:
    """Write other frames into bundle.yaml, for the objects that are named, all of them at once.

    Comments and the way in which the rest is written stay. Only where the frames cannot be replaced by themselves, as
    where they are an alias, the file is written anew.

    Raises:
        BundleError: naming what is wrong in the file, or what would be.
        OSError: if it cannot be written.
    """
    before = read_bundle_file(folder)[0]
    objects = [
        item.model_copy(update={"frames": dict(frames[item.name])}) if item.name in frames else item
        for item in before.objects
    ]
    wanted = before.model_copy(update={"objects": objects})
    text = (folder / BUNDLE_FILE).read_bytes().decode()
    for index, item in enumerate(before.objects):
        if item.name in frames:
            text = text_with_frames(text, index, item.frames, frames[item.name])
    write_bundle_text(folder, text if _says(text, wanted) else text_of(wanted))


def _says(text: str, wanted: BundleFile) -> bool:
    try:
        return BundleFile.model_validate(yaml.safe_load(text)) == wanted
    except (yaml.YAMLError, ValidationError):
        return False


def text_with_frames(text: str, index: int, before: Frames, frames: Frames) -> str:
    """Return a bundle.yaml in which an object has other frames.

    Args:
        text: the file.
        index: of the object, in the order of the file.
        before: what the file says.
        frames: all that it is to say. Lines of frames that stay are kept, with comments at their ends and above them.
    """
    entry = _value(_value(yaml.compose(text, Loader=yaml.SafeLoader), "objects"), index)
    place = next(((key, value) for key, value in entry.value if key.value == "frames"), None)
    indent = " " * entry.value[0][0].start_mark.column
    if place is None:
        end = _end(entry.value[-1][1])
        if not frames:
            return text
        lead = ", " if entry.flow_style else f"\n{indent}"
        return text[:end] + lead + _written(frames, indent, entry.flow_style) + text[end:]
    key, value = place
    start = key.start_mark.index
    if not frames or entry.flow_style or value.flow_style:
        return text[:start] + _written(frames, indent, entry.flow_style) + text[_end(value) :]
    start = _line_end(text, key.end_mark.index)
    return text[:start] + "".join(_lines(text, start, value, before, frames)) + text[_line_end(text, _end(value)) :]


def _lines(text: str, start: int, block: yaml.MappingNode, before: Frames, frames: Frames) -> list[str]:
    """Return the lines of frames, each with the line break before it, taken from the text where they are the same."""
    kept = {}
    for key, value in block.value:
        end = _line_end(text, _end(value))
        kept[key.value] = text[start : key.start_mark.index], text[key.start_mark.index : end]
        start = end
    column = " " * block.value[0][0].start_mark.column
    found = []
    for name, entry in frames.items():
        above, line = kept.get(name, (f"\n{column}", ""))
        found.append(above + (line if before.get(name) == entry else _one(name, entry)))
    return found


def _written(frames: Frames, indent: str, inline: bool) -> str:
    """Return the key `frames` with its value, one line for each of them or all in one."""
    if inline or not frames:
        return "frames: {" + ", ".join(_one(name, entry) for name, entry in frames.items()) + "}"
    return "".join(["frames:", *(f"\n{indent}  {_one(name, entry)}" for name, entry in frames.items())])


def _one(name: str, entry: FrameEntry) -> str:
    """Return a frame as `name: {...}`."""
    content = {name: entry.model_dump(mode="json", exclude_none=True)}
    return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=math.inf).strip()[1:-1]


def _value(node: yaml.Node, key: str | int) -> Any:
    """Return a value of a list or of a mapping."""
    if isinstance(key, int):
        return node.value[key]
    return next(value for name, value in node.value if name.value == key)


def _end(node: yaml.Node) -> int:
    """Return where the text of a node ends, without what comes after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _line_end(text: str, start: int) -> int:
    """Return where the line ends, before its line break."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end
