"""pose_frames: mistakes are named before a page is served, and what is not saved is warned about."""

from __future__ import annotations

import pytest

from pose_estimation_ros.cli import frames


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bundle", "nowhere"], "no bundle.yaml"),
        (["--bundle", "demo", "--object", "teapot"], "--object 'teapot': not in bundle demo (has: mug,"),
        (["--bundle", "lmo"], "meshes are not shipped with this bundle; give their folder as"),
        (["--bundle", "demo", "--mesh-dir", "nowhere"], "mug.ply: mesh of 'mug' not found"),
        (["--bundle", "demo", "--port", "70000"], "--port 70000"),
    ],
)
def test_mistakes_are_named_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert frames.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("pose_frames: error: ") and said in message and message.count("\n") == 1
