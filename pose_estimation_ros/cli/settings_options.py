"""The option `--set NAME=VALUE` of the commands, and the methods that they offer."""

from __future__ import annotations

import argparse

from pose_estimation_ros.methods.registry import choices
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.pipeline_settings import RunSettings, known_settings, resolve_run
from pose_estimation_ros.settings import Layer, parse_assignments


def add_settings_option(group: argparse._ActionsContainer) -> None:
    """Add `--set`."""
    group.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting, repeatable: --set attention.stages=2 (pose_settings lists them)",
    )


def method_help(kind: str) -> str:
    """Say which methods there are."""
    return f"{', '.join(choices(kind))} (default: what the settings say)"  # type: ignore[arg-type]


def settings_of(arguments: argparse.Namespace, bundle: Bundle | None, **fixed: object) -> RunSettings:
    """Return the settings of a run: the bundle's, what the command fixes, and what `--set` says.

    Args:
        arguments: with what `--set` was given.
        bundle: has settings of its own.
        fixed: what the command decides itself, with two underscores for a dot.

    Raises:
        SettingsError: if a name is unknown or a value bad.
    """
    own = Layer("the command", {name.replace("__", "."): value for name, value in fixed.items()})
    return resolve_run(bundle, [own, parse_assignments(arguments.assignments)])


def domain_of_renderings() -> dict[str, str]:
    """Return what tells all methods that images are renderings, by full names."""
    return {
        name: "synthetic"
        for name, item in known_settings().items()
        if name.endswith(".domain") and "synthetic" in item.choices
    }
