"""Joints of the NYU data set: pixels and depths, axes, cubes, text files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pose_estimation_ros.data.hand_skeleton import place_bones, sample_articulations, sample_shapes
from pose_estimation_ros.data.nyu_hand import (
    CAMERA,
    JOINTS,
    PALM,
    SUBJECT_FRAMES,
    cube_sides,
    denormalised,
    normalised,
    points_from_nyu,
    points_from_uvd,
    read_joints,
    subject_of,
    uvd_from_points,
    write_joints,
)

NYU = Path(os.environ.get("NYU_HAND_DIR", Path(__file__).resolve().parents[3] / "shared/data/nyu_hand"))


@given(st.floats(0.0, 639.0), st.floats(0.0, 479.0), st.floats(200.0, 2000.0))
def test_pixels_and_depths_survive_the_way_to_points_and_back(u: float, v: float, d: float) -> None:
    uvd = np.array([[[u, v, d]]])
    assert uvd_from_points(points_from_uvd(uvd)) == pytest.approx(uvd, abs=1e-9)


def test_a_point_has_the_coordinates_that_the_data_set_defines() -> None:
    u, v, d = 400.0, 100.0, 750.0
    point = points_from_uvd(np.array([u, v, d]))
    in_mm = np.array([(u - 320.0) * d / 588.03, (240.0 - v) * d / 587.07, d])  # y up: rows count downwards
    assert point == pytest.approx(points_from_nyu(in_mm), abs=1e-12)
    assert point[1] < 0.0 < in_mm[1]
    assert CAMERA.project(point)[0] == pytest.approx([u, v])


def test_the_test_set_has_two_subjects_and_the_second_a_smaller_cube() -> None:
    subjects = subject_of(8252)
    assert np.bincount(subjects).tolist() == list(SUBJECT_FRAMES)
    sides = cube_sides(subjects)
    assert (sides[:2440] == 0.3).all() and (sides[2440:] == 0.25).all()


def test_subjects_have_as_many_frames_as_there_are() -> None:
    with pytest.raises(ValueError, match=r"subjects of \[3, 4\] frames: expected positive numbers whose sum is 8"):
        subject_of(8, (3, 4))


def test_joints_in_a_cube_come_back_and_its_faces_are_at_one() -> None:
    centre, side = np.array([[0.1, -0.05, 0.8], [0.0, 0.0, 0.7]]), np.array([0.3, 0.25])
    faces = centre[:, None] + side[:, None, None] / 2.0 * np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    values = normalised(faces, centre, side)
    assert values == pytest.approx(np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]] * 2))
    assert denormalised(values, centre, side) == pytest.approx(faces)


def test_a_file_is_read_joint_by_joint(tmp_path) -> None:
    uvd = np.random.default_rng(0).uniform(50.0, 400.0, (2, 14, 3)).round(3)
    path = tmp_path / "some_uvd.txt"
    path.write_text("\n".join(" ".join(f"{value:.3f}" for value in line.ravel()) for line in uvd))
    points = read_joints(path)
    assert uvd_from_points(points) == pytest.approx(uvd)
    assert points[1, PALM, 2] == pytest.approx(float(path.read_text().split()[-1]) / 1000.0)
    assert list(JOINTS)[PALM] == "palm" and list(JOINTS.values())[PALM] == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "0 lines of"),
        ("1 2 3\n1 2 3", "2 lines of 3 numbers, expected lines of 42"),
        ("1 2 3\n1 2", "expected 42 numbers in every line"),
        ("a b c", "expected 42 numbers in every line"),
        (" ".join(["1 2 3"] * 14) + "\n" + " ".join(["1 2 3"] * 13 + ["1 nan 3"]), "frame 2: palm = .*: not finite"),
        (" ".join(["5 5 0"] + ["1 2 3"] * 13), "frame 1: pinky tip = .*: no depth above 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_what_is_no_such_file_is_named(tmp_path, content: str, message: str) -> None:
    path = tmp_path / "joints.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"joints\.txt: .*{message}"):
        read_joints(path)


def test_a_written_file_is_read_back_exactly_and_replaces_an_old_one(tmp_path: Path) -> None:
    uvd = np.random.default_rng(0).uniform(50.0, 400.0, (3, 14, 3)).round(3)
    path = tmp_path / "new/some_uvd.txt"
    for frames in (3, 2):
        write_joints(path, uvd[:frames])
        assert np.array_equal(read_joints(path), points_from_uvd(uvd[:frames]))
    assert [item.name for item in path.parent.iterdir()] == ["some_uvd.txt"]


def right_share(joints: np.ndarray) -> float:
    """Return the share of hands (N, 14, 3) whose fingers bend to the side that the palms of right hands are on."""
    named = dict(zip(JOINTS, joints.transpose(1, 0, 2), strict=True))
    out_of_palm = np.cross(
        named["wrist, thumb side"] - named["wrist, pinky side"], named["middle base"] - named["palm"]
    )
    bend = named["middle tip"] - named["middle base"] + named["ring tip"] - named["ring base"]
    return float(((out_of_palm * bend).sum(axis=1) > 0.0).mean())


@pytest.mark.skipif(not NYU.is_dir(), reason=f"no joints of the data set in {NYU}")
def test_annotated_hands_are_right_ones_as_those_of_the_model() -> None:
    generator = torch.Generator().manual_seed(0)
    model = place_bones(sample_shapes(300, generator), sample_articulations(300, generator)).joints.numpy()
    joints = read_joints(NYU / "groundtruth_uvd.txt")
    for hands in (model, *(joints[subject_of(len(joints)) == number] for number in (0, 1))):
        assert right_share(hands) > 0.95
        assert right_share(hands * np.array([-1.0, 1.0, 1.0])) < 0.05
