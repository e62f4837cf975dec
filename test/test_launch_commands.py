"""`ros2 launch` as it is typed, with stubs for what it starts: every argument arrives, wrong ones start nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ros2launch", reason="ros2 launch is not installed")

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
ROS2 = "import sys; from ros2cli.cli import main; sys.argv[0] = 'ros2'; sys.exit(main())"
# Says what it was given, then waits, or ends at once where the test's folder says so.
STUB = """#!/bin/sh
for word in "$@"; do [ -f "$word" ] && cat "$word"; done
echo "GIVEN" "$@"
[ -f {folder}/$(basename $0)_ends ] && exit 3
exec sleep 60
"""


@pytest.fixture
def launch(tmp_path: Path, domain: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that runs `ros2 launch` on stubs of the package's executables and of RViz."""
    own = ("pose_node", "pose_play", "pose_rviz", "planning_scene_node")
    for package, names in {"pose_estimation_ros": own, "rviz2": ("rviz2",)}.items():
        index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        (tmp_path / "lib" / package).mkdir(parents=True)
        for name in names:
            stub = tmp_path / "lib" / package / name
            stub.write_text(STUB.format(folder=tmp_path))
            stub.chmod(0o755)
    prefixes = f"{tmp_path}:{os.environ.get('AMENT_PREFIX_PATH', '')}"
    environment = {**os.environ, "AMENT_PREFIX_PATH": prefixes, "PYTHONUNBUFFERED": "1", "ROS_DOMAIN_ID": domain}
    processes = []

    def run(file: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", ROS2, "launch", str(LAUNCH / file), *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture(scope="session")
def domain() -> str:
    return str(100 + os.getpid() % 90)


def heard(process: subprocess.Popen[str], *names: str) -> dict[str, str]:
    """Return what executables were given, files included, once all have said so."""
    assert process.stdout is not None
    said = dict.fromkeys(names, "")
    for line in process.stdout:
        for name in names:
            said[name] += line if line.startswith(f"[{name}-") else ""
        if all("GIVEN" in text for text in said.values()):
            return said
    raise AssertionError(f"not everything has started: {said}")


# argument of both files, and what the node is given
OF_THE_NODE = [
    ("namespace:=left", "__ns:=/left"),
    ("bundle:=lmo", "bundle: lmo"),
    ("backend:=nemo", "backend: nemo"),
    ("refiner:=attention", "refiner: attention"),
    ("device:=cpu", "device: cpu"),
    ("image_topic:=/cam/image", "image:=/cam/image"),
    ("camera_info_topic:=/cam/info", "camera_info:=/cam/info"),
    ("image_transport:=compressed", "image_transport: compressed"),
    ("log_level:=debug", "--log-level debug"),
]


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_arguments_reach_the_node(launch, file):
    given = heard(launch(file, "rviz:=false", *(argument for argument, _ in OF_THE_NODE)), "pose_node")["pose_node"]
    assert [expected for _, expected in OF_THE_NODE if expected not in given] == []


def test_arguments_of_the_demo_reach_the_player_too(launch):
    arguments = ["namespace:=left", "image_topic:=/cam/image", "camera_info_topic:=/cam/info", "log_level:=debug"]
    arguments += ["image_transport:=compressed", "bop:=/data/lmo", "rate:=7.5", "rviz:=false"]
    given = heard(launch("demo.launch.py", *arguments), "pose_play")["pose_play"]
    words = ["__ns:=/left", "image:=/cam/image", "image/compressed:=/cam/image/compressed", "camera_info:=/cam/info"]
    words += ["--transport compressed", "--bop /data/lmo", "--rate 7.5", "--log-level debug"]
    assert [word for word in words if word not in given] == []


def test_player_and_node_of_the_demo_agree_whatever_the_parameter_file_says(launch, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("/**:\n  ros__parameters:\n    image_transport: compressed\n    frame_prefix: cell_\n")
    given = heard(launch("demo.launch.py", f"params_file:={file}", "rviz:=false"), "pose_node", "pose_play")
    assert "frame_prefix: cell_" in given["pose_node"]
    assert given["pose_node"].index("image_transport: compressed") < given["pose_node"].index("image_transport: raw")
    assert "--transport raw" in given["pose_play"]


def test_simulated_time_reaches_the_node(launch):
    given = heard(launch("pose.launch.py", "use_sim_time:=true"), "pose_node")["pose_node"]
    assert "use_sim_time: true" in given


def test_arguments_reach_the_bridge_to_moveit(launch):
    of_the_bridge = [
        ("namespace:=left", "__ns:=/left"),
        ("bundle:=lmo", "bundle: lmo"),
        ("mesh_dir:=/data/lmo/models", "mesh_dir: /data/lmo/models"),
        ("processing:=on_demand", "processing: on_demand"),
        ("planning_frame:=base_link", "planning_frame: base_link"),
        ("planning_scene_topic:=/cell/scene", "planning_scene:=/cell/scene"),
        ("monitored_scene_topic:=/cell/monitored", "monitored_planning_scene:=/cell/monitored"),
        ("use_sim_time:=true", "use_sim_time: true"),
        ("log_level:=debug", "--log-level debug"),
    ]
    process = launch("planning_scene.launch.py", *(argument for argument, _ in of_the_bridge))
    given = heard(process, "planning_scene_node")["planning_scene_node"]
    assert [expected for _, expected in of_the_bridge if expected not in given] == []


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_rviz_is_given_its_configuration_topics_and_frame(launch, file):
    arguments = ["rviz:=true", "fixed_frame:=base_link", "image_topic:=/cam/image", "namespace:=left"]
    given = heard(launch(file, *arguments), "pose_rviz")["pose_rviz"]
    for words in ("config/rviz/pose.rviz", "--fixed-frame base_link", "image:=/cam/image", "__ns:=/left"):
        assert words in given
    assert "--fixed-frame" not in heard(launch(file, "rviz:=true"), "pose_rviz")["pose_rviz"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["namspace:=left"], "unknown launch argument 'namspace'; did you mean 'namespace'?"),
        (["params_file:=/no/such.yaml"], "params_file:=/no/such.yaml: no such file"),
        (["log_level:=verbose"], 'Argument "log_level" provided value "verbose" is not valid'),
        (["respawn:=maybe"], 'Argument "respawn" provided value "maybe" is not valid'),
        (["respawn_delay:=soon"], "respawn_delay:=soon: expected a number of at least 0"),
    ],
)
@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py", "planning_scene.launch.py"])
def test_wrong_arguments_start_nothing(launch, file, arguments, reason):
    process = launch(file, *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert reason in output
    assert "process started" not in output


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_without_rviz_nothing_is_started(launch, tmp_path, file):
    (tmp_path / "lib" / "rviz2" / "rviz2").unlink()
    process = launch(file, "rviz:=true")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "rviz:=true: the package rviz2 is not installed; install it, or launch with rviz:=false" in output
    assert "process started" not in output


@pytest.mark.parametrize("executable", ["pose_node", "pose_play"])
def test_the_demo_ends_with_its_node_or_its_player(launch, tmp_path, executable):
    (tmp_path / f"{executable}_ends").touch()
    start_s = time.monotonic()
    output, _ = launch("demo.launch.py", "rviz:=false").communicate(timeout=50)
    assert f"{executable} has ended" in output or "process has died" in output
    assert time.monotonic() - start_s < 50.0  # a stub would wait for 60
    assert "Caught exception" not in output


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_ctrl_c_ends_the_launch_and_all_that_it_started(launch, file):
    process = launch(file, "rviz:=false")
    heard(process, "pose_node", *(["pose_play"] if file == "demo.launch.py" else []))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all at once
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0, output
    assert "Caught exception" not in output


@pytest.mark.parametrize("file", ["pose.launch.py", "demo.launch.py"])
def test_the_node_is_started_again_if_asked_for(launch, tmp_path, file):
    (tmp_path / "pose_node_ends").touch()
    process = launch(file, "rviz:=false", "respawn:=true", "respawn_delay:=0.1")
    starts = 0
    for line in process.stdout:
        starts += line.startswith("[INFO] [pose_node-1]: process started")
        if starts == 3:
            (tmp_path / "pose_node_ends").unlink()  # launch may wait for one that dies while it is interrupted
            return
    raise AssertionError("the node was not started three times")
