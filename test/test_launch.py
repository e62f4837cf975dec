"""The launch files: their arguments everywhere, a real launch where launch_ros exists."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
ARGUMENTS = [
    "namespace",
    "params_file",
    "bundle",
    "backend",
    "device",
    "image_topic",
    "camera_info_topic",
    "image_transport",
    "use_sim_time",
    "rviz",
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


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_every_argument_is_explained(file: str) -> None:
    for name, text in table(file):
        assert len(text.split()) >= 3, name
        assert text.endswith("."), name


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_what_is_declared_is_what_the_table_says(file: str) -> None:
    description = load(file).generate_launch_description()
    declared = [(item.name, item.description) for item in description.get_launch_arguments()]
    assert declared[: len(table(file))] == table(file)


def node_command(arguments: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Return the command line that launching would start, and the parameters in the files it names."""
    import yaml
    from launch import LaunchContext

    module = load("pose.launch.py")
    context = LaunchContext()
    for item in module.generate_launch_description().get_launch_arguments():
        item.execute(context)
    context.launch_configurations.update(arguments)
    (node,) = module.start_node(context)
    node._perform_substitutions(context)
    command = [part.perform(context) if hasattr(part, "perform") else "".join(p.perform(context) for p in part)
               for part in node.cmd]  # fmt: skip
    parameters: dict[str, Any] = {}
    for path in re.findall(r"\S+\.yaml|/tmp/launch_params_\S+", " ".join(command)):
        for section in yaml.safe_load(Path(path).read_text()).values():
            parameters.update(section["ros__parameters"])
    return command, parameters


def test_given_arguments_replace_the_file_and_empty_ones_do_not(tmp_path: Path) -> None:
    load("pose.launch.py")
    own = tmp_path / "own.yaml"
    own.write_text("/**:\n  ros__parameters:\n    bundle: lmo\n    backend: heatmaps\n")
    _, parameters = node_command({"params_file": str(own), "backend": "pix2pose", "use_sim_time": "true"})
    assert parameters["bundle"] == "lmo"
    assert parameters["backend"] == "pix2pose"
    assert parameters["use_sim_time"] is True


def test_topics_are_connected() -> None:
    load("pose.launch.py")
    command, _ = node_command({"image_topic": "/cam/image", "camera_info_topic": "/cam/info", "namespace": "arm"})
    assert {"image:=/cam/image", "image/compressed:=/cam/image/compressed", "camera_info:=/cam/info"} <= set(command)
    assert "__ns:=/arm" in command


def test_a_launched_node_starts_and_stops(tmp_path: Path) -> None:
    """Launch the node without a bundle: it must come up, say what it lacks, and end well when launch ends."""
    load("pose.launch.py")
    from launch import LaunchDescription, LaunchService
    from launch.actions import EmitEvent, IncludeLaunchDescription, RegisterEventHandler, TimerAction
    from launch.event_handlers import OnProcessExit, OnProcessIO
    from launch.events import Shutdown
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    output: list[str] = []
    codes: list[int] = []

    def listen(event: Any) -> list[Any] | None:
        output.append(event.text.decode())
        return [EmitEvent(event=Shutdown(reason="seen"))] if "no_such_bundle" in "".join(output) else None

    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription(
            [
                RegisterEventHandler(OnProcessIO(on_stdout=listen, on_stderr=listen)),
                RegisterEventHandler(OnProcessExit(on_exit=lambda event, _: codes.append(event.returncode))),
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(LAUNCH / "pose.launch.py")),
                    launch_arguments=[("bundle", str(tmp_path / "no_such_bundle"))],
                ),
                TimerAction(period=60.0, actions=[EmitEvent(event=Shutdown(reason="nothing seen for a minute"))]),
            ]
        )
    )
    assert service.run() == 0
    assert "not configured" in "".join(output)
    assert codes == [0]
