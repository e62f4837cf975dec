"""The command pose_record: what it makes of files that it cannot write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from pose_estimation_ros.ros.record_node import main


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("full", ["--mcap", "--json"])
def test_a_full_disk_is_told_in_one_line_and_the_other_file_is_written(tmp_path, domain_id, monkeypatch, capfd, full):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    files = {"--mcap": tmp_path / "poses.mcap", "--json": tmp_path / "poses.json", full: Path("/dev/full")}
    assert main([*(str(word) for item in files.items() for word in item), "--duration", "0.1"]) == 2
    assert capfd.readouterr().err == "pose_record: error: /dev/full: No space left on device\n"
    if full == "--mcap":
        assert json.loads(files["--json"].read_text())["frames"] == []
    else:
        assert files["--mcap"].read_bytes().endswith(b"\x89MCAP0\r\n")
