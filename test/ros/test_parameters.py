"""The parameter table: what it accepts, what it refuses and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_estimation_ros.ros.parameters import TABLE, defaults, problem_with, readme_table


def test_defaults_are_good_and_described():
    assert problem_with(defaults()) is None
    assert all(parameter.description.endswith(".") for parameter in TABLE)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("detector.score_threshold", 1.01, "detector.score_threshold = 1.01: expected 0 to 1"),
        ("detector.score_threshold", float("nan"), "detector.score_threshold = nan: expected 0 to 1"),
        ("detector.score_threshold", True, "= True: expected a number with a decimal point"),
        ("diagnostics_period_s", 0.0, "diagnostics_period_s = 0: expected 0.1 to 60"),
        ("tracking.detect_every", 0, "tracking.detect_every = 0: expected 1 to 1000"),
        ("tracking.detect_every", 2.0, "= 2.0: expected a whole number"),
        ("tracking.mode", "guess", "'guess': expected one of detect, refine"),
        ("image_transport", "theora", "'theora': expected one of raw, compressed"),
        ("device", "gpu", "'gpu': expected auto, cpu, cuda or cuda:N"),
        ("frame_prefix", "/robot/", "'/robot/': expected letters"),
        ("frame_prefix", "my robot", "'my robot': expected letters"),
        ("bundle", " ", "' ': expected a folder or a name"),
        ("publish_tf", 1, "= 1: expected true or false"),
    ],
)
def test_bad_values_are_refused_with_the_reason(name, value, reason):
    assert reason in problem_with({name: value})


@pytest.mark.parametrize(("name", "value"), [("device", "cuda:1"), ("frame_prefix", "robot_1/"), ("use_sim_time", 3)])
def test_good_and_foreign_values_pass(name, value):
    assert problem_with({name: value}) is None


def test_readme_holds_the_table():
    assert all(f"`{parameter.name}`" in readme_table() for parameter in TABLE)
    readme = Path(__file__).resolve().parents[2] / "README.md"
    assert readme_table() in readme.read_text(), "README.md, Parameters: expected what readme_table() returns"
