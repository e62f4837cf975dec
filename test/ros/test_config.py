"""config/pose.yaml and the parameter table of the node say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.ros.parameters import TABLE, problem_with

CONFIG = Path(__file__).resolve().parents[2] / "config" / "pose.yaml"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested names with dots, as ROS does when it reads a parameter file."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat


def parameters() -> dict[str, Any]:
    return flatten(yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"])


def test_the_file_names_every_parameter_and_no_other() -> None:
    assert set(parameters()) == {parameter.name for parameter in TABLE}


def test_the_file_holds_the_defaults() -> None:
    values = parameters()
    for parameter in TABLE:
        value = values[parameter.name]
        assert value == parameter.default, parameter.name
        assert type(value) is type(parameter.default), parameter.name  # ROS tells 1 from 1.0


def test_the_node_accepts_the_file() -> None:
    assert problem_with(parameters()) is None


def test_every_parameter_is_explained() -> None:
    lines = CONFIG.read_text().splitlines()
    for parameter in TABLE:
        key = parameter.name.rsplit(".", 1)[-1]
        hits = [line for line in lines if line.strip().startswith(f"{key}:")]
        assert any("#" in line for line in hits), f"{parameter.name}: no comment in {CONFIG.name}"


def test_the_file_says_which_parameters_change_at_run_time() -> None:
    lines = [line.strip() for line in CONFIG.read_text().splitlines() if "at run time" in line and ":" in line]
    marked = [line.split(":")[0] for line in lines if not line.startswith("#")]
    assert sorted(marked) == sorted(item.name.rsplit(".", 1)[-1] for item in TABLE if not item.read_only)
