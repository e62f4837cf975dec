"""Result files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.evaluation.bop_results import (
    HEADER,
    Estimate,
    check_file_name,
    read_results,
    write_pose_texts,
    write_results,
)

IDENTITY = "1 0 0 0 1 0 0 0 1"


def _estimate(scene: int, image: int, object_id: int, score: float = 0.5, seed: int = 0) -> Estimate:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = [0.1, -0.25, 0.9876543]
    return Estimate(scene, image, object_id, score, matrix, 0.25)


def test_poses_survive_the_file(tmp_path: Path) -> None:
    written = [_estimate(2, 3, 1, 0.9, 1), _estimate(2, 3, 5, 0.123456, 2), _estimate(2, 17, 1, 0.0, 3)]
    write_results(tmp_path / "pix2pose_lmo-test.csv", written)
    read = read_results(tmp_path / "pix2pose_lmo-test.csv")
    assert [(item.scene_id, item.image_id, item.object_id, item.score, item.time_s) for item in read] == [
        (2, 3, 1, 0.9, 0.25),
        (2, 3, 5, 0.123456, 0.25),
        (2, 17, 1, 0.0, 0.25),
    ]
    for before, after in zip(written, read, strict=True):
        np.testing.assert_allclose(after.camera_from_object, before.camera_from_object, atol=1e-8)


def test_the_file_is_in_millimetres_row_by_row(tmp_path: Path) -> None:
    matrix = np.array([[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, -0.02], [0.0, 0.0, 1.0, 0.75], [0.0, 0.0, 0.0, 1.0]])
    write_results(tmp_path / "x.csv", [Estimate(2, 3, 1, 0.5, matrix, 0.2)])
    assert (tmp_path / "x.csv").read_text() == f"{HEADER}\n2,3,1,0.5,0 -1 0 1 0 0 0 0 1,100 -20 750,0.2\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"1,2,3,0.5,{IDENTITY},0 0 500", "csv:2: 6 comma-separated fields"),
        (f"1,2,x,0.5,{IDENTITY},0 0 500,1", "csv:2: invalid literal"),
        ("1,2,3,0.5,1 0 0 0 1 0 0 0,0 0 500,1", "8 values in R"),
        (f"1,2,3,0.5,{IDENTITY},0 nan 500,1", "NaN"),
        ("1,2,3,0.5,2 0 0 0 1 0 0 0 1,0 0 500,1", "not a rotation"),
        ("1,2,3,0.5,1 0 0 0 1 0 0 0 -1,0 0 500,1", "not a rotation"),
        (f"1,2,3,0.5,{IDENTITY},0 0 500,1\n1,2,4,0.5,{IDENTITY},0 0 500,2", "csv:3: time 2: expected 1"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_file_names_of_the_server() -> None:
    assert check_file_name("out/pix2pose_lmo-test.csv") is None
    assert check_file_name("pix2pose_ycbv-test_2.csv") is None
    for wrong in ("poses.csv", "pix2pose_lmo.csv", "pix_2_pose_lmo-test.csv", "a_b-c.d.csv", "a_b-c.txt"):
        assert "METHOD_DATASET-SPLIT" in str(check_file_name(wrong))


def test_one_matrix_per_frame_in_a_folder_per_object(tmp_path: Path) -> None:
    first = _estimate(2, 3, 1, seed=4)
    count = write_pose_texts(tmp_path, [first, _estimate(2, 8, 1), _estimate(2, 8, 5)], {1: "ape", 5: "can"})
    assert count == 3
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt"))
    assert files == ["ape/000003.txt", "ape/000008.txt", "can/000008.txt"]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "ape/000003.txt"), first.camera_from_object[:3], atol=1e-8)


def test_further_instances_and_scenes_get_their_own_files(tmp_path: Path) -> None:
    estimates = [_estimate(1, 3, 1, 0.2, 5), _estimate(1, 3, 1, 0.8, 6), _estimate(2, 3, 1, 0.5, 7)]
    write_pose_texts(tmp_path, estimates, {})
    folder = tmp_path / "obj_000001"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt"))
    assert files == ["000001/000003.txt", "000001/000003_1.txt", "000002/000003.txt"]
    best = np.loadtxt(folder / "000001/000003.txt")
    np.testing.assert_allclose(best, estimates[1].camera_from_object[:3], atol=1e-8)
