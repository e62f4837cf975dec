"""What launch files check before they start anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from pose_estimation_ros.ros.launch_arguments import check_values, is_true, refuse_unknown_arguments

KNOWN = ("namespace", "rviz", "image_topic")


def test_unknown_names_are_refused_with_the_nearest_known_one():
    command = ["ros2", "launch", "pose_estimation_ros", "pose.launch.py", "rviz:=true", "imge_topic:=/a"]
    with pytest.raises(ValueError, match="unknown launch argument 'imge_topic'; did you mean 'image_topic'?"):
        refuse_unknown_arguments(command, "pose.launch.py", KNOWN)
    with pytest.raises(ValueError, match="unknown launch argument 'xyz'; expected one of image_topic, namespace, rviz"):
        refuse_unknown_arguments(["ros2", "launch", "/a/pose.launch.py", "xyz:=1"], "pose.launch.py", KNOWN)


@pytest.mark.parametrize(
    "command",
    [
        ["ros2", "launch", "pose_estimation_ros", "pose.launch.py", "rviz:=true", "launch-prefix:=gdb"],
        ["ros2", "launch", "robot", "robot.launch.py", "arm:=left", "file:=/a/pose.launch.py"],  # which includes ours
    ],
)
def test_arguments_of_launch_and_of_including_files_pass(command):
    refuse_unknown_arguments(command, "pose.launch.py", KNOWN)


def test_good_values_pass(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("/left/pose_estimation:\n  ros__parameters:\n    bundle: lmo\n")
    check_values({"params_file": str(file), "namespace": "left", "rviz": "false", "rate": "0.5", "respawn_delay": "0"})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"params_file": "/no/such.yaml"}, "params_file:=/no/such.yaml: no such file"),
        ({"rate": "0"}, "rate:=0: expected a number above 0"),
        ({"rate": "nan"}, "rate:=nan: expected a number above 0"),
        ({"respawn_delay": "soon"}, "respawn_delay:=soon: expected a number of at least 0"),
        ({"respawn_delay": "-1"}, "respawn_delay:=-1: expected a number of at least 0"),
    ],
)
def test_bad_values_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        check_values(values)


def test_parameter_files_for_other_nodes_alone_are_refused(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text("pose_estimation:\n  ros__parameters:\n    bundle: lmo\n")
    check_values({"params_file": str(file)})
    with pytest.raises(ValueError, match="has parameters of /pose_estimation alone; expected some of /left/pose_estim"):
        check_values({"params_file": str(file), "namespace": "left"})


def test_rviz_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="the package rviz2 is not installed; .* rviz:=false"):
        check_values({"rviz": "true"})
    check_values({"rviz": "false"})


def test_switches_are_read_as_launch_reads_them():
    assert [is_true(value) for value in ("true", "True", "1", "false", "False", "0")] == [True] * 3 + [False] * 3


def test_a_launch_does_not_wait_for_the_import_of_the_networks():
    code = "import sys, pose_estimation_ros.ros.launch_arguments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
