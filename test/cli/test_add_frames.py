"""pose_add --frame: places on objects that the bundle has already."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.cli.add import main
from pose_estimation_ros.objects.bundle import load_bundle


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(load_bundle("demo").path / "bundle.yaml", folder)
    return folder


def frames(folder: Path) -> dict[str, list[str]]:
    return {model.name: [frame.name for frame in model.frames] for model in load_bundle(folder).catalog if model.frames}


def test_frames_are_added_and_replaced_and_nothing_else_changes(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_bundle(mine)
    assert main(["--bundle", str(mine), "--frame", "mug/handle=0.05,0,0", "mug/rim=0,0,0.05", "bottle/cap=0,0,3"]) == 0
    said = capsys.readouterr().out
    assert "mug: frame handle at 50.0, 0.0, 0.0 mm\nmug: frame rim" in said
    assert "2925 mm outside its box; --frame takes metres" in said
    assert main(["--bundle", str(mine), "--frame", "mug/handle=-0.05,0,0,180,0,0"]) == 0
    assert frames(mine) == {"mug": ["handle", "rim"], "bottle": ["cap"]}
    after = load_bundle(mine)
    handle = after.catalog[0].frames[0].object_from_frame
    np.testing.assert_allclose(handle, np.diag([1.0, -1.0, -1.0, 1.0]) + np.eye(4, k=3) * -0.05, atol=1e-9)
    assert (after.networks, after.settings, after.scores) == (before.networks, before.settings, before.scores)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("mug/handle=1,2", "mug/handle=1,2: expected OBJECT/NAME=X,Y,Z[,ROLL,PITCH,YAW], metres and degrees"),
        ("mug/handle", "expected OBJECT/NAME="),
        ("mug/handle=0,0,nan", "expected OBJECT/NAME="),
        ("mug/handle=a,b,c", "expected OBJECT/NAME="),
        ("teapot/spout=0,0,0", "no object 'teapot'; expected one of mug,"),
        ("mug=0,0,0", "frame '': expected a name of letters"),
        ("mug/my handle=0,0,0", "frame 'my handle': expected a name of letters"),
        ("mug/handle=50,0,0", "translation_m = [50.0, 0.0, 0.0]: expected metres within 5"),
    ],
)
def test_what_is_no_frame_is_refused_and_nothing_is_written(
    mine: Path, capsys: pytest.CaptureFixture[str], frame: str, said: str
) -> None:
    before = (mine / "bundle.yaml").read_bytes()
    assert main(["--bundle", str(mine), "--frame", "mug/rim=0,0,0", frame]) == 2
    message = capsys.readouterr().err
    assert said in message and frame in message
    assert (mine / "bundle.yaml").read_bytes() == before
    assert main(["--bundle", str(mine), "--frame", "mug/rim=0,0,0", "mug/rim=0,0,1"]) == 2
    assert "mug/rim is there twice" in capsys.readouterr().err
