"""The command hands_node: mistakes on the command line end it with one line."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from pose_estimation_ros.ros.hands_node import main


@pytest.fixture(autouse=True)
def _own_domain(domain_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("hands.far_m:=-1.0", "hands.far_m = -1.0: expected a number above 0"),
        ("hands.side:=both", "hands.side = 'both': expected one of right, left"),
        ("image_transport:=compressed", "image_transport = 'compressed': expected"),
        ("backend:=pix2pose", "unknown setting 'backend'"),
        ("processing:=on_demand", "unknown setting 'processing'"),
        ("detect_timeout_s:=3.0", "unknown setting 'detect_timeout_s'"),
    ],
)
def test_bad_parameters_are_one_line_and_exit_code_two(parameter: str, reason: str, capfd: pytest.CaptureFixture[str]):
    assert main(["hands_node", "--ros-args", "-p", parameter]) == 2
    complaint = capfd.readouterr().err
    assert complaint.startswith("hands_node: error: ") and reason in complaint and complaint.count("\n") == 1
