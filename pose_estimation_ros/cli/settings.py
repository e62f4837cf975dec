"""pose_settings: list every setting with its value and where that came from, or write a parameter file of the node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose_estimation_ros.cli.parameter_files import markdown, parameter_file, read_parameter_file
from pose_estimation_ros.cli.settings_options import add_settings_option
from pose_estimation_ros.node_settings import NodeSettings, known_parameters, split_parameters
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.settings import DEFAULT, Layer, dump_yaml, parse_assignments, resolve, values_of


@dataclass(frozen=True)
class InForce:
    """Values of settings, and where each came from, by full name."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        found = select(in_force(arguments), arguments.group, arguments.changed)
    except (ValueError, OSError) as error:
        print(f"pose_settings: error: {error}", file=sys.stderr)
        return 2
    if arguments.format == "table":
        print(table(found), end="")
    else:
        print({"yaml": parameter_file, "markdown": markdown}[arguments.format](found.values), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_settings", description=__doc__)
    parser.add_argument(
        "group", nargs="?", default="", help="only settings that begin so, such as attention or tracking"
    )
    parser.add_argument("--bundle", help="folder of a bundle, or the name of a shipped one, with settings of its own")
    parser.add_argument("--params-file", type=Path, metavar="FILE", help="parameter file of the node")
    parser.add_argument("--changed", action="store_true", help="only what is not a default")
    parser.add_argument(
        "--format",
        choices=("table", "yaml", "markdown"),
        default="table",
        help="yaml: a parameter file of the node; markdown: defaults and meaning (default: %(default)s)",
    )
    add_settings_option(parser)
    return parser


def in_force(arguments: argparse.Namespace) -> InForce:
    """Return the settings that the arguments give: bundle, parameter file, `--set`.

    Raises:
        ValueError: if a file, a name or a value is bad.
        OSError: if the parameter file cannot be read.
    """
    of_node, of_pipeline = [], []
    if arguments.params_file:
        own, others = split_parameters(read_parameter_file(arguments.params_file))
        of_node.append(own)
        of_pipeline.append(others)
    if arguments.bundle:
        of_node.append(Layer("--bundle", {"bundle": arguments.bundle}))
    of_pipeline.append(parse_assignments(arguments.assignments))
    node = resolve(NodeSettings, of_node)
    # Without a word of the bundle these are the settings of no bundle in particular.
    bundle = None if node.origins["bundle"] == DEFAULT else load_bundle(node.settings.bundle)
    run = resolve_run(bundle, of_pipeline)
    return InForce(dict(values_of(node.settings)) | run.values(), {**node.origins, **run.origins})


def select(found: InForce, group: str, changed: bool) -> InForce:
    """Return the settings whose names begin with the group and, if asked for, that are not defaults.

    Raises:
        ValueError: if no setting begins so.
    """
    names = [name for name in found.values if name.startswith(group)]
    if not names:
        groups = sorted({name.partition(".")[0] for name in found.values})
        raise ValueError(f"no setting begins with {group!r}; expected one of {', '.join(groups)}")
    return InForce(
        {name: found.values[name] for name in names if not changed or found.origins[name] != DEFAULT}, found.origins
    )


def table(found: InForce) -> str:
    """Return a table of settings: name, value, origin, meaning."""
    infos, rows = known_parameters(), []
    for name, value in found.values.items():
        when = " Changes at run time." if infos[name].at_run_time else ""
        rows.append((name, dump_yaml(value), found.origins[name], infos[name].description + when))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [[*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]] for row in rows]
    return "".join("  ".join(line) + "\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
