"""Parameter files of the node: read, written with comments, and described as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.methods.registry import pipeline_methods
from pose_estimation_ros.node_settings import NodeSettings, known_parameters
from pose_estimation_ros.pipeline_settings import PipelineSettings
from pose_estimation_ros.settings import Layer, SettingInfo, SettingsError, dump_yaml, flatten, list_settings, load_yaml

NODE = "pose_estimation"  # name of the node
_WIDTH = 120

_YAML_HEAD = """\
# Parameters of the node pose_estimation; written by: pose_settings --format yaml
# Copy what you change to a file of your own: every line here wins over what the bundle chose for itself. Pass it with
#   ros2 launch pose_estimation_ros pose.launch.py params_file:=/path/to/my.yaml
#   pose_node --ros-args --params-file /path/to/my.yaml
# Parameters marked "at run time" may change while the node is up: ros2 param set /pose_estimation NAME VALUE
/**:
  ros__parameters:
"""
_MARKDOWN_HEAD = """\
# Parameters

Of the node, and settings of every command. The value in force is the last one of: the default below, `settings` in the
bundle's `bundle.yaml`, the node's parameters (`pose_node --ros-args -p attention.stages:=2`, `--params-file FILE`,
`params_file:=FILE` of the launch files), and `--set attention.stages=2` of the commands.

`pose_settings` shows what is in force and where it came from; `pose_settings --format yaml` writes a parameter file,
like [config/pose.yaml](../config/pose.yaml). Unknown names are refused. Those marked "at run time" may change while the
node is up. This page is written by `pose_settings --format markdown > docs/parameters.md`.
"""


@dataclass(frozen=True)
class _Group:
    title: str
    summary: str
    settings: list[SettingInfo]


def _groups(names: Mapping[str, Any]) -> list[_Group]:
    """Return those of the named settings that belong together: node, pipeline, and every method."""
    known = known_parameters()
    parts = [
        ("Node", _summary(NodeSettings), [item.name for item in list_settings(NodeSettings)]),
        ("Pipeline", _summary(PipelineSettings), [item.name for item in list_settings(PipelineSettings)]),
    ]
    for name, method in pipeline_methods().items():
        own = [item for item in known if item.startswith(f"{name}.")]
        parts.append((f"{method.kind.capitalize()} {name}", method.summary, own))
    groups = [_Group(title, summary, [known[name] for name in own if name in names]) for title, summary, own in parts]
    return [group for group in groups if group.settings]


def _summary(model: type) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def parameter_file(values: Mapping[str, Any]) -> str:
    """Return a parameter file with a comment for every value.

    Args:
        values: by full name.
    """
    lines: list[str] = []
    for group in _groups(values):
        lines += ["", *_comment(f"{group.title}: {group.summary}", 2)]
        opened: list[str] = []
        for info in group.settings:
            *path, name = info.name.split(".")
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, opened, strict=False)))
            lines += ["  " * (2 + depth) + f"{path[depth]}:" for depth in range(shared, len(path))]
            lines += _entry(info, name, values[info.name], 2 + len(path))
            opened = path
    return _YAML_HEAD + "\n".join(lines[1:]) + "\n"


def _entry(info: SettingInfo, name: str, value: Any, depth: int) -> list[str]:
    when = "; at run time" if info.at_run_time else ""
    comment = _comment(f"{info.description} ({_values(info)}{when})", depth)
    return [*comment, "  " * depth + f"{name}: {dump_yaml(value)}"]


def _comment(text: str, depth: int) -> list[str]:
    start = "  " * depth + "# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _values(info: SettingInfo) -> str:
    """Return what values are good; the descriptions of texts with a pattern say it better than the pattern."""
    return "a text" if info.pattern else info.expected


def markdown(values: Mapping[str, Any]) -> str:
    """Return tables of the settings with these names, their defaults and meaning."""
    lines = [_MARKDOWN_HEAD.rstrip()]
    for group in _groups(values):
        lines += ["", f"## {group.title}", group.summary, "", *markdown_table(group.settings)]
    return "\n".join(lines) + "\n"


def markdown_table(settings: Iterable[SettingInfo]) -> list[str]:
    """Return the lines of a table of settings."""
    lines = ["| parameter | default | values | at run time | meaning |", "|---|---|---|---|---|"]
    for info in settings:
        when = "yes" if info.at_run_time else "no"
        meaning = info.description.replace("<", "&lt;")  # Markdown takes <name> for a tag and shows nothing
        lines.append(f"| `{info.name}` | `{dump_yaml(info.default)}` | {_values(info)} | {when} | {meaning} |")
    return lines


def read_parameter_file(path: Path) -> Layer:
    """Read what a parameter file says of the node, whatever its namespace.

    Raises:
        SettingsError: if the file is none, or says nothing of the node.
        OSError: if it cannot be read.
    """
    try:
        content = load_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    sections = list(_sections(content))
    if not sections or not all(isinstance(values, Mapping) for _, values in sections):
        raise SettingsError(f"{path}: expected a parameter file of ROS 2: NODE: ros__parameters: NAME: VALUE")
    own = [values for name, values in sections if name.rpartition("/")[2] in (NODE, "*", "**")]
    if not own:
        names = ", ".join(name for name, _ in sections)
        raise SettingsError(f"{path}: says something of {names}; expected {NODE} or /**")
    return Layer(str(path), {name: value for values in own for name, value in flatten(values).items()})


def _sections(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name of every node, as a path, and its parameters."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == "ros__parameters":
            yield path, value
        else:
            yield from _sections(value, f"{path}/{str(key).strip('/')}")
