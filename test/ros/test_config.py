"""config/pose.yaml and docs/parameters.md say what the settings models say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_estimation_ros.cli import settings as pose_settings
from pose_estimation_ros.node_settings import known_parameters
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.settings import Layer, flatten

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "pose.yaml"


def parameters() -> dict[str, Any]:
    return flatten(yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"])


@pytest.mark.parametrize("file", ["fast_refinement.yaml", "quick_refinement.yaml"])
def test_the_quicker_refinements_are_what_the_node_accepts(file: str) -> None:
    quick = yaml.safe_load((ROOT / "config" / file).read_text())["/**"]["ros__parameters"]
    known = known_parameters()
    assert {name: type(value) for name, value in quick.items()} == {name: known[name].type for name in quick}
    run = resolve_run(None, [Layer("file", quick)])
    assert {name: run.values()[name] for name in quick} == quick
    assert all(known[name].default != value for name, value in quick.items())


def comments() -> dict[str, str]:
    """Return what stands above the line of every parameter, by its name."""
    found, above, path = {}, [], []
    for line in CONFIG.read_text().partition("ros__parameters:\n")[2].splitlines():
        text, depth = line.strip(), (len(line) - len(line.lstrip())) // 2 - 2
        if text.startswith("#"):
            above.append(text.removeprefix("# "))
            continue
        if text:
            key, _, value = text.partition(":")
            path = [*path[:depth], key]
            if value:
                found[".".join(path)] = " ".join(above)
        above = []
    return found


def test_the_file_names_every_parameter_and_no_other() -> None:
    assert list(parameters()) == list(known_parameters())


def test_the_file_holds_the_defaults_with_their_types() -> None:
    values = parameters()
    for name, info in known_parameters().items():
        value = values[name]
        if info.type is tuple:
            assert all(type(item) is (str if info.holds_texts else float) for item in value), (
                name
            )  # ROS has lists of one type
            value = tuple(value)
        assert value == info.default, name
        assert type(value) is info.type, name  # ROS tells 1 from 1.0


def test_every_parameter_is_described_and_those_of_run_time_are_marked() -> None:
    found = comments()
    for name, info in known_parameters().items():
        assert info.description.endswith("."), name
        assert info.description in found[name], name
        assert ("at run time" in found[name]) == info.at_run_time, name


@pytest.mark.parametrize(("form", "file"), [("yaml", CONFIG), ("markdown", ROOT / "docs" / "parameters.md")])
def test_the_file_is_what_the_command_writes(form: str, file: Path, capsys) -> None:
    assert pose_settings.main(["--format", form]) == 0
    path = file.relative_to(ROOT)
    assert capsys.readouterr().out == file.read_text(), f"pose_settings --format {form} > {path}"


def test_the_readme_links_the_parameters() -> None:
    assert "(docs/parameters.md)" in (ROOT / "README.md").read_text()
