"""The launch files: their arguments everywhere, a real launch where launch_ros exists."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
FILES = sorted(path.name for path in LAUNCH.glob("*.launch.py"))
ARGUMENTS = [
    "namespace",
    "params_file",
    "bundle",
    "backend",
    "refiner",
    "device",
    "image_topic",
    "camera_info_topic",
    "image_transport",
    "use_sim_time",
    "respawn",
    "respawn_delay",
    "rviz",
    "fixed_frame",
    "log_level",
]


def load(name: str) -> ModuleType:
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: the launch files cannot run here")
    specification = importlib.util.spec_from_file_location(name.replace(".", "_"), LAUNCH / name)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def table(name: str) -> list[tuple[str, str]]:
    """Read names and descriptions from the file without running it."""
    for node in ast.parse((LAUNCH / name).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            assert isinstance(node.value, ast.Tuple)
            rows = [row.elts for row in node.value.elts if isinstance(row, ast.Tuple)]
            return [(ast.literal_eval(row[0]), ast.literal_eval(row[2])) for row in rows]
    raise AssertionError(f"{name}: no ARGUMENTS")


def test_the_node_s_launch_file_has_the_documented_arguments() -> None:
    assert sorted(name for name, _ in table("pose.launch.py")) == sorted(ARGUMENTS)


@pytest.mark.parametrize("file", FILES)
def test_every_argument_is_explained(file: str) -> None:
    for name, text in table(file):
        assert len(text.split()) >= 3, name
        assert text.endswith("."), name


@pytest.mark.parametrize("file", FILES)
def test_what_is_declared_is_what_the_table_says(file: str) -> None:
    description = load(file).generate_launch_description()
    # launch itself appends the choices
    declared = [
        (item.name, item.description.partition(" Valid choices are:")[0]) for item in description.get_launch_arguments()
    ]
    assert declared[: len(table(file))] == table(file)


@dataclass
class Run:
    """What a launch started and what came of it."""

    command: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    exit_code: int | None = None
    launch_code: int | None = None


def read_parameters(command: list[str]) -> dict[str, Any]:
    """Join the parameter files of a command line as the node does: the last one wins."""
    parameters: dict[str, Any] = {}
    for flag, path in pairwise(command):
        if flag == "--params-file":
            for section in yaml.safe_load(Path(path).read_text()).values():
                parameters.update(section["ros__parameters"])
    return parameters


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Launch the node with a bundle that does not exist, and stop when it says so."""
    load("pose.launch.py")
    from launch import LaunchDescription, LaunchService
    from launch.actions import EmitEvent, IncludeLaunchDescription, RegisterEventHandler, TimerAction
    from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart
    from launch.events import Shutdown
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    result = Run()
    own = tmp_path_factory.mktemp("launch") / "own.yaml"
    own.write_text(
        "/**:\n  ros__parameters:\n    bundle: no_such_bundle\n    backend: heatmaps\n    frame_prefix: cell_\n"
    )
    arguments = {
        "params_file": str(own),
        "namespace": "arm",
        "backend": "pix2pose",
        "image_topic": "/camera/image_raw",
        "camera_info_topic": "/camera/camera_info",
        "log_level": "info",
    }

    def started(event: Any, _: Any) -> None:
        result.command = list(event.cmd)
        result.parameters = read_parameters(result.command)

    def prediction(event: Any) -> list[Any] | None:
        is_first = "not configured" not in result.output
        result.output += event.text.decode()
        return [EmitEvent(event=Shutdown(reason="heard"))] if is_first and "not configured" in result.output else None

    def ended(event: Any, _: Any) -> None:
        result.exit_code = event.returncode

    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription(
            [
                RegisterEventHandler(OnProcessStart(on_start=started)),
                RegisterEventHandler(OnProcessIO(on_stdout=prediction, on_stderr=prediction)),
                RegisterEventHandler(OnProcessExit(on_exit=ended)),
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(LAUNCH / "pose.launch.py")), launch_arguments=arguments.items()
                ),
                TimerAction(period=90.0, actions=[EmitEvent(event=Shutdown(reason="nothing heard"))]),
            ]
        )
    )
    result.launch_code = service.run()
    return result


def test_given_arguments_replace_the_file_and_empty_ones_do_not(run: Run) -> None:
    assert run.parameters["bundle"] == "no_such_bundle"
    assert run.parameters["frame_prefix"] == "cell_"
    assert run.parameters["backend"] == "pix2pose"
    assert run.parameters["use_sim_time"] is False


def test_topics_namespace_and_log_level_reach_the_node(run: Run) -> None:
    expected = {
        "image:=/camera/image_raw",
        "image/compressed:=/camera/image_raw/compressed",
        "camera_info:=/camera/camera_info",
        "__ns:=/arm",
        "__node:=pose_estimation",
    }
    assert expected <= set(run.command)
    assert run.command[run.command.index("--log-level") + 1] == "info"


def test_the_node_starts_itself_says_what_is_wrong_and_ends_well(run: Run) -> None:
    assert "[arm.pose_estimation]: loading bundle 'no_such_bundle'" in run.output
    assert "not configured" in run.output
    assert run.exit_code == 0, run.output
    assert run.launch_code == 0
