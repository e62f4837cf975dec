"""pose_settings: list every setting with its value and where that came from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.cli.settings_options import add_settings_option
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline_settings import RunSettings, known_settings, resolve_run
from pose_estimation_ros.settings import DEFAULT, Layer, SettingsError, flatten, parse_assignments


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        print(describe(resolve(arguments), arguments.group, arguments.changed))
    except (ValueError, OSError) as error:
        print(f"pose_settings: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_settings", description=__doc__)
    parser.add_argument(
        "group", nargs="?", default="", help="only settings that begin so, such as attention or tracking"
    )
    parser.add_argument("--bundle", help="folder of a bundle, or the name of a shipped one, with settings of its own")
    parser.add_argument("--params-file", type=Path, metavar="FILE", help="parameter file of the node")
    parser.add_argument("--changed", action="store_true", help="only what is not a default")
    add_settings_option(parser)
    return parser


def resolve(arguments: argparse.Namespace) -> RunSettings:
    """Return the settings that the arguments name.

    Raises:
        ValueError: if a file, a name or a value is bad.
    """
    bundle = load_bundle(arguments.bundle) if arguments.bundle else None
    layers = [parameter_file_layer(arguments.params_file)] if arguments.params_file else []
    return resolve_run(bundle, [*layers, parse_assignments(arguments.assignments)])


def parameter_file_layer(path: Path) -> Layer:
    """Read a parameter file of the node; what only the node has is left out.

    Raises:
        SettingsError: if the file is none.
    """
    try:
        content = yaml.safe_load(path.read_text())
        nodes = list(content.values())
        values: dict[str, Any] = {}
        for node in nodes:
            values |= flatten(node["ros__parameters"])
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: expected a parameter file of ROS 2: NODE: ros__parameters: ...") from error
    from pose_estimation_ros.settings import refuse_unknown

    refuse_unknown(values, {*known_settings(), *NODE_ONLY}, str(path))
    return Layer(str(path), {name: value for name, value in values.items() if name not in NODE_ONLY})


# What the node has beside the pipeline; ros/ may not be imported here.
NODE_ONLY = (
    "bundle",
    "image_transport",
    "image_is_rectified",
    "frame_prefix",
    "publish_tf",
    "autostart",
    "diagnostics_period_s",
    "use_sim_time",
)


def describe(run: RunSettings, group: str = "", changed: bool = False) -> str:
    """Return a table of settings: name, value, origin, meaning.

    Raises:
        ValueError: if no setting begins with the group.
    """
    infos, rows = known_settings(), []
    for name, value in run.values().items():
        origin = run.origins[name]
        if not name.startswith(group) or (changed and origin == DEFAULT):
            continue
        shown = list(value) if isinstance(value, tuple) else value
        when = " Changes at run time." if infos[name].at_run_time else ""
        rows.append((name, _text(shown), origin, infos[name].description + when))
    if not rows and not changed:
        groups = sorted({name.partition(".")[0] for name in run.values()})
        raise ValueError(f"no setting begins with {group!r}; expected one of {', '.join(groups)}")
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)


if __name__ == "__main__":
    sys.exit(main())
