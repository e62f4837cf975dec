"""The command pose_node as a process: what it makes of command lines and parameter files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

ROOT = Path(__file__).parents[2]
# The node with a pipeline that says what was given and ends the process.
NODE = """
import json, os
from pose_estimation_ros.ros.parameters import node_settings, run_settings
from pose_estimation_ros.ros.pose_node import main

def report(given):
    values = node_settings(given).model_dump() | run_settings(given, None).values()
    print(json.dumps({"given": given, "values": values}), flush=True)
    os._exit(0)

raise SystemExit(main(pipeline_factory=report))
"""


def run(domain_id: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def given(domain_id: int, *arguments: str) -> dict:
    process = run(domain_id, "-c", NODE, "--ros-args", *arguments)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def refusal(domain_id: int, *arguments: str) -> str:
    """Return the one line with which the node ends."""
    process = run(domain_id, "-m", "pose_estimation_ros.ros.pose_node", *arguments)
    assert process.returncode == 2, process.stderr
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("bakend:=nemo", "unknown setting 'bakend'; did you mean 'backend'?"),
        ("pix2pose.ransac_iteration:=200", "did you mean 'pix2pose.ransac_iterations'?"),
        ("pose_estimation:bakend:=nemo", "unknown setting 'bakend'; did you mean 'backend'?"),
        ("backend:=pix2poze", "backend = 'pix2poze': did you mean 'pix2pose'?"),
        ("detector.score_threshold:=7.0", "detector.score_threshold = 7.0: expected a number from 0 to 1"),
        ("tracking.smoothing:=off", "tracking.smoothing = False: expected one of none, light, strong"),
        ("bundle:=5", "bundle = 5: expected a text"),
    ],
)
def test_bad_parameters_are_one_line_and_exit_code_two(domain_id, parameter, reason):
    line = refusal(domain_id, "--ros-args", "-p", parameter)
    assert line.startswith("pose_node: error: the node's parameters: ")
    assert reason in line


@pytest.mark.parametrize("node", ["/**", "pose_estimation", "/pose_estimation"])
def test_unknown_names_in_parameter_files_are_refused(domain_id, tmp_path, node):
    file = tmp_path / "my.yaml"
    file.write_text(f"{node}:\n  ros__parameters:\n    attention:\n      stage: 2\n")
    line = refusal(domain_id, "--ros-args", "--params-file", str(file))
    assert "unknown setting 'attention.stage'; did you mean 'attention.stages'?" in line


def test_files_that_are_none_are_named(domain_id, tmp_path):
    assert f"{tmp_path}/gone.yaml" in refusal(domain_id, "--ros-args", "--params-file", f"{tmp_path}/gone.yaml")
    (tmp_path / "bad.yaml").write_text("/**:\n  ros__parameters:\n    backend:\n")
    assert "No value at line 3" in refusal(domain_id, "--ros-args", "--params-file", f"{tmp_path}/bad.yaml")


def test_other_arguments_are_refused_and_help_is_given(domain_id):
    process = run(domain_id, "-m", "pose_estimation_ros.ros.pose_node", "--bundle", "demo")
    assert process.returncode == 2
    assert "pose_node: error: unrecognized arguments: --bundle demo" in process.stderr
    process = run(domain_id, "-m", "pose_estimation_ros.ros.pose_node", "--help")
    assert process.returncode == 0
    assert "-p NAME:=VALUE" in process.stdout


def test_parameter_files_and_the_command_line_reach_the_node_in_their_order(domain_id, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: false\n    qos_overrides./tf.publisher.depth: 5\n"
        "    backend: heatmaps\n    attention: {stages: 6, error_scale: 2}\n"
        "pose_estimation:\n  ros__parameters:\n    pix2pose: {framing_scales: [1, 1], outlier_errors: [1e-1]}\n"
        "another_node:\n  ros__parameters:\n    speed: 3\n"
    )
    found = given(domain_id, "--params-file", str(file), "-p", "attention.stages:=2", "-p", "nemo.fit.damping:=1e-4")
    values = found["values"]
    assert values["backend"] == "heatmaps"
    assert (values["attention.stages"], values["attention.error_scale"]) == (2, 2.0)
    assert values["pix2pose.framing_scales"] == [1.0, 1.0]
    assert values["pix2pose.outlier_errors"] == [0.1]
    assert values["nemo.fit.damping"] == 1e-4
    assert set(found["given"]) == {
        "backend",
        "attention.stages",
        "attention.error_scale",
        "pix2pose.framing_scales",
        "pix2pose.outlier_errors",
        "nemo.fit.damping",
    }


def test_empty_lists_reach_the_node(domain_id):
    names = ("framing_scales", "framing_shifts_x", "framing_shifts_y")
    arguments = [item for name in names for item in ("-p", f"pix2pose.{name}:=[]")]
    values = given(domain_id, *arguments)["values"]
    assert [values[f"pix2pose.{name}"] for name in names] == [[], [], []]


def test_the_shipped_parameter_file_is_accepted_and_holds_the_defaults(domain_id):
    found = given(domain_id, "--params-file", "config/pose.yaml")
    assert found["values"] == given(domain_id, "-p", "bundle:=demo")["values"]
    assert set(found["given"]) == set(found["values"])
