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

from pose_estimation_ros.ros.node_process import main
from pose_estimation_ros.ros.parameters import node_settings, run_settings

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
    command = [sys.executable, "-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", "bakend:=nemo"]
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


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--bundle", "demo"), "arguments: --bundle demo; did you mean --ros-args -p bundle:=demo?"),
        (("--bundel=demo",), "arguments: --bundel=demo; did you mean --ros-args -p bundle:=demo?"),
        (("bundle:=demo",), "arguments: bundle:=demo; did you mean --ros-args -p bundle:=demo?"),
        (("bakend:=nemo", "--ros-args", "-p", "bundle:=demo"), "did you mean --ros-args -p backend:=nemo?"),
        (
            ("--ros-args", "-p", "bundle:=demo", "--", "--frame-prefix"),
            "did you mean --ros-args -p frame_prefix:=VALUE?",
        ),
        (("xyz",), "arguments: xyz; expected --ros-args and what is to follow it"),
    ],
)
def test_words_outside_ros_args_are_refused_with_how_they_may_be_meant(capsys, words, reason):
    with pytest.raises(SystemExit, match="2"):
        main(["pose_node", *words])
    assert reason in capsys.readouterr().err


def test_help_is_given(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["pose_node", "--help"])
    assert "-p NAME:=VALUE" in capsys.readouterr().out


def test_unknown_ros_arguments_are_named_with_the_nearest_known_one(refusal):
    assert refusal("--param-file", "x.yaml").endswith(
        "unknown ROS argument '--param-file': did you mean '--params-file'?"
    )
    assert "'verbose'" in refusal("--log-level", "verbose").replace("--log-level verbose", "'verbose'")


def test_a_parameter_of_all_nodes_with_a_value_of_another_type_is_refused(refusal):
    assert "use_sim_time" in refusal("-p", "use_sim_time:=maybe")


@pytest.mark.parametrize(
    ("key", "namespace"),
    [
        ("pose_node", "/"),
        ("/another_node", "/"),
        ("pose_estimation", "/left"),
        ("/left/pose_estimation", "/right"),
        ("/*", "/left"),
        ("/*/pose_estimation", "/"),
    ],
)
def test_parameter_files_for_other_nodes_alone_are_refused(refusal, tmp_path, key, namespace):
    """rclpy passes over them in silence, and the node would serve the objects of the demo."""
    file = tmp_path / "my.yaml"
    file.write_text(f"'{key}':\n  ros__parameters:\n    bundle: lmo\n")
    line = refusal("--params-file", str(file), "-r", f"__ns:={namespace}")
    assert f"{file}: has parameters of /{key.strip('/')} alone" in line
    assert f"expected some of {namespace.rstrip('/')}/pose_estimation" in line


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("/**: {ros__parameters: {bundle: lmo}}", "/left"),
        ("left: {pose_estimation: {ros__parameters: {bundle: lmo}}}", "/left"),
        ("/*/pose_estimation: {ros__parameters: {bundle: lmo}}", "/left"),
        ("/**/pose_estimation: {ros__parameters: {bundle: lmo}}", "/"),
        ("/*: {ros__parameters: {bundle: lmo}}", "/"),
        ("/left/**: {ros__parameters: {bundle: lmo}}", "/left"),
    ],
)
def test_parameter_files_reach_the_node_as_rclpy_reads_them(tmp_path, text, namespace):
    file = tmp_path / "my.yaml"
    file.write_text(text)
    assert given("--params-file", str(file), "-r", f"__ns:={namespace}") == {"bundle": "lmo"}


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
