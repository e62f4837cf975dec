"""The command pose_node: what it makes of command lines and parameter files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from pose_estimation_ros.ros.parameters import node_settings, run_settings
from pose_estimation_ros.ros.pose_node import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_domain(domain_id, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))


def given(*arguments: str) -> dict[str, Any]:
    """Run the command until its pipeline is built; return the parameters that this is told."""
    seen = []

    def factory(parameters):
        seen.append(dict(parameters))
        raise KeyboardInterrupt

    assert main(["pose_node", "--ros-args", *arguments], factory) == 0
    return seen[0]


def values(parameters: dict[str, Any]) -> dict[str, Any]:
    return node_settings(parameters).model_dump() | run_settings(parameters, None).values()


@pytest.fixture
def refusal(capfd):
    """Return a function that returns the one line with which the command ends."""

    def refuse(*arguments: str) -> str:
        assert main(["pose_node", "--ros-args", *arguments]) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return refuse


def test_a_mistake_ends_the_process_with_one_line_and_exit_code_two():
    command = [sys.executable, "-m", "pose_estimation_ros.ros.pose_node", "--ros-args", "-p", "bakend:=nemo"]
    process = subprocess.run(command, env=os.environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    line = "pose_node: error: the node's parameters: unknown setting 'bakend'; did you mean 'backend'?\n"
    assert (process.returncode, process.stdout, process.stderr) == (2, "", line)


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
def test_bad_parameters_are_one_line_and_exit_code_two(refusal, parameter, reason):
    line = refusal("-p", parameter)
    assert line.startswith("pose_node: error: the node's parameters: ")
    assert reason in line


@pytest.mark.parametrize("node", ["/**", "pose_estimation", "/pose_estimation"])
def test_unknown_names_in_parameter_files_are_refused(refusal, tmp_path, node):
    file = tmp_path / "my.yaml"
    file.write_text(f"{node}:\n  ros__parameters:\n    attention:\n      stage: 2\n")
    line = refusal("--params-file", str(file))
    assert "unknown setting 'attention.stage'; did you mean 'attention.stages'?" in line


def test_files_that_are_none_are_named(refusal, tmp_path):
    assert f"{tmp_path}/gone.yaml" in refusal("--params-file", f"{tmp_path}/gone.yaml")
    (tmp_path / "bad.yaml").write_text("/**:\n  ros__parameters:\n    backend:\n")
    assert "No value at line 3" in refusal("--params-file", f"{tmp_path}/bad.yaml")


def test_other_arguments_are_refused_and_help_is_given(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["pose_node", "--bundle", "demo"])
    assert "pose_node: error: unrecognized arguments: --bundle demo" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["pose_node", "--help"])
    assert "-p NAME:=VALUE" in capsys.readouterr().out


def test_parameter_files_and_the_command_line_reach_the_node_in_their_order(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: false\n    qos_overrides./tf.publisher.depth: 5\n"
        "    backend: heatmaps\n    attention: {stages: 6, error_scale: 2}\n"
        "pose_estimation:\n  ros__parameters:\n    pix2pose: {framing_scales: [1, 1], outlier_errors: [1e-1]}\n"
        "another_node:\n  ros__parameters:\n    speed: 3\n"
    )
    found = given("--params-file", str(file), "-p", "attention.stages:=2", "-p", "nemo.fit.damping:=1e-4")
    expected = {
        "backend": "heatmaps",
        "attention.stages": 2,
        "attention.error_scale": 2.0,
        "pix2pose.framing_scales": (1.0, 1.0),
        "pix2pose.outlier_errors": (0.1,),
        "nemo.fit.damping": 1e-4,
    }
    assert set(found) == set(expected)
    assert {name: values(found)[name] for name in expected} == expected


def test_empty_lists_reach_the_node():
    names = ("framing_scales", "framing_shifts_x", "framing_shifts_y")
    arguments = [item for name in names for item in ("-p", f"pix2pose.{name}:=[]")]
    found = values(given(*arguments))
    assert [found[f"pix2pose.{name}"] for name in names] == [(), (), ()]


def test_the_shipped_parameter_file_is_accepted_and_holds_the_defaults():
    found = given("--params-file", str(ROOT / "config" / "pose.yaml"))
    assert values(found) == values({})
    assert set(found) == set(values({}))
