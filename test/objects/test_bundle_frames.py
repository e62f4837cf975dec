"""Frames are changed in bundle.yaml, and nothing else in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.objects.bundle_file import FrameEntry, readable_frame, require_frame_name
from pose_estimation_ros.objects.bundle_frames import read_frames, save_frames
from pose_estimation_ros.objects.bundle_text import BUNDLE_FILE, BundleError

HEAD = "# of our own\nname: shop  # short\nlicence: 'Apache-2.0'\n"
MUG = "{name: mug, id: 2, mesh: mug.ply, diameter_m: 0.1, bounds_m: [[0, 0, 0], [0.05, 0.05, 0.05]]%s}"
CAN = """  - id: 7
    name: can
    mesh: can.ply   # from the scanner
    diameter_m: 0.12
    bounds_m: [[0.0, 0.0, 0.0],
               [0.07, 0.07, 0.07]]
"""
FRAMES = """    frames:   # measured by hand
      # where the gripper goes
      side: {translation_m: [0.01, 0.0, 0.0], rpy_deg: [0.0, 90.0, 0.0]}  # 3 mm clear
      lid:
        quaternion_xyzw: [0.0, 0.0, 0.0, 1.0]
        translation_m: [0.0, 0.0, 0.06]
      # the last one
      base: {}   # below
"""
TAIL = "networks: {}\n# the end\n"
SPOUT = FrameEntry(translation_m=(0.03, 0.0, -0.02), rpy_deg=(0.0, 45.0, 0.0))
SPOUT_TEXT = "spout: {translation_m: [0.03, 0.0, -0.02], rpy_deg: [0.0, 45.0, 0.0]}"


def shop(folder: Path, mug: str = "", frames: str = FRAMES) -> Path:
    text = f"{HEAD}objects:\n  - {MUG % mug}\n{CAN}{frames}{TAIL}"
    (folder / BUNDLE_FILE).write_text(text)
    return folder


def text(folder: Path) -> str:
    return (folder / BUNDLE_FILE).read_text()


def test_lines_of_other_frames_and_all_comments_stay(tmp_path: Path) -> None:
    before = text(shop(tmp_path))
    frames = read_frames(tmp_path)["can"]
    save_frames(tmp_path, {"can": {**frames, "spout": SPOUT}})
    below = "      base: {}   # below\n"
    assert text(tmp_path) == before.replace(below, f"{below}      {SPOUT_TEXT}\n")
    assert read_frames(tmp_path) == {"mug": {}, "can": {**frames, "spout": SPOUT}}


def test_a_moved_frame_keeps_what_is_said_above_it_and_a_deleted_one_leaves_nothing(tmp_path: Path) -> None:
    before = text(shop(tmp_path))
    frames = read_frames(tmp_path)["can"]
    save_frames(tmp_path, {"can": {"side": SPOUT, "base": frames["base"]}})
    (side,) = (line for line in before.splitlines(keepends=True) if "side:" in line)
    expected = before[: before.index("      lid:")] + before[before.index("      # the last one") :]
    assert text(tmp_path) == expected.replace(side, SPOUT_TEXT.replace("spout", "      side") + "\n")
    save_frames(tmp_path, {"can": {}})
    assert "    frames: {}   # below\nnetworks: {}\n# the end\n" in text(tmp_path)


@pytest.mark.parametrize(
    ("mug", "frames"),
    [
        ("", ""),
        (", frames: {}", "    frames: {}  # none yet\n"),
        (", frames: {old: {}, 'on': {}}", "    frames: {lid: {}}\n"),
    ],
)
def test_objects_without_frames_or_with_all_on_one_line_get_theirs(tmp_path: Path, mug: str, frames: str) -> None:
    shop(tmp_path, mug, frames)
    on = FrameEntry(translation_m=(0.0, 0.0, 0.01))
    save_frames(tmp_path, {"mug": {"on": on}, "can": {"spout": SPOUT, "on": on}})
    assert read_frames(tmp_path) == {"mug": {"on": on}, "can": {"spout": SPOUT, "on": on}}
    written = text(tmp_path)
    assert written.startswith(HEAD) and written.endswith(TAIL) and "# from the scanner" in written
    assert f"    frames:\n      {SPOUT_TEXT}\n      'on': " in written


def test_what_cannot_be_replaced_by_itself_is_written_anew(tmp_path: Path) -> None:
    shop(tmp_path, ", frames: &common {lid: {}}", "    frames: *common\n")
    content = yaml.safe_load(text(tmp_path))
    save_frames(tmp_path, {"can": {"spout": SPOUT}})
    assert read_frames(tmp_path) == {"mug": {"lid": FrameEntry()}, "can": {"spout": SPOUT}}
    after = yaml.safe_load(text(tmp_path))
    assert (after["name"], after["objects"][1]["mesh"]) == (content["name"], content["objects"][1]["mesh"])


def test_a_damaged_bundle_is_left_alone(tmp_path: Path) -> None:
    (shop(tmp_path) / BUNDLE_FILE).write_text(damaged := text(tmp_path).replace("diameter_m: 0.12", "diameter_m: 120"))
    with pytest.raises(BundleError, match="diameter_m = 120"):
        save_frames(tmp_path, {"can": {}})
    assert text(tmp_path) == damaged and [path.name for path in tmp_path.iterdir()] == [BUNDLE_FILE]


@pytest.mark.parametrize("name", ["", "9lives", "grasp/handle", "grüße", "a" * 201, "two words"])
def test_names_are_those_that_the_bundle_takes(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        require_frame_name(name)
    assert require_frame_name("handle_2") == "handle_2"


@given(st.tuples(*[st.floats(-180.0, 180.0)] * 3), st.sampled_from([None, -90.0, 90.0]))
def test_readable_numbers_say_the_same_pose(angles: tuple[float, float, float], pitch: float | None) -> None:
    transform = np.eye(4)
    angles = angles if pitch is None else (angles[0], pitch, angles[2])
    transform[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    transform[:3, 3] = (0.1234567, -1e-9, 0.0)
    entry = readable_frame(transform)
    np.testing.assert_allclose(entry.matrix(), transform, atol=1e-5)
    assert str(entry.translation_m) == "(0.123457, 0.0, 0.0)"
    assert "-0.0," not in f"{entry.rpy_deg},"
