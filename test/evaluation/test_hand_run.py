"""Hands found image by image: interrupted runs go on, and images without a found hand count."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.nyu_hand import points_from_uvd, uvd_from_points
from pose_estimation_ros.evaluation.hand_run import (
    HandRecord,
    count_misses,
    counted_joints,
    describe_misses,
    find_hands,
)
from pose_estimation_ros.evaluation.partial import partial_file

FAR = [[10.0, 20.0, 900.0]] * 14
NEAR = [[10.0, 20.0, 500.0]] * 14


class Finder:
    """Finds joints at the depth of the image's first pixel; none where that is 0."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.seen_mm: list[int] = []
        self._interrupt_at = interrupt_at

    def find(self, depth: np.ndarray, camera: object) -> SimpleNamespace:
        if len(self.seen_mm) == self._interrupt_at:
            raise KeyboardInterrupt
        first = float(depth[0, 0])
        self.seen_mm.append(round(1000.0 * first))
        hands = [SimpleNamespace(joints=np.array([[0.01, -0.02, first]] * 14))]
        return SimpleNamespace(hands=hands if first else [], reason=None if first else "nothing there")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for number, depth_mm in enumerate((500, 0, 900)):
        image = np.zeros((480, 640, 3), dtype=np.uint8)
        image[..., 1], image[..., 0] = divmod(depth_mm, 256)
        found.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(found[-1]), image)
    return found


def test_an_image_without_a_hand_has_the_joints_of_the_last_one_before() -> None:
    none = HandRecord(None, "dark")
    records = [none, HandRecord(NEAR), none, HandRecord(None, "cut"), HandRecord(FAR), none]
    assert counted_joints(records).tolist() == [NEAR, NEAR, NEAR, NEAR, FAR, FAR]  # none before the first: its own
    assert count_misses(records) == 4 and describe_misses(records) == "dark: 3, cut: 1"


def test_no_hand_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no hand found in any of 2 images \(dark: 2\)"):
        counted_joints([HandRecord(None, "dark")] * 2)


def test_joints_are_those_of_a_result_file(paths: list[Path]) -> None:
    records = find_hands(paths, [Finder()] * 3)
    assert [record.reason for record in records] == [None, "nothing there", None]
    uvd = np.array(records[2].uvd)
    assert uvd == pytest.approx(uvd_from_points(np.array([[0.01, -0.02, 0.9]] * 14)), abs=6e-4)
    assert (uvd == uvd.round(3)).all()
    assert points_from_uvd(uvd) == pytest.approx(np.array([[0.01, -0.02, 0.9]] * 14), abs=1e-6)


def test_an_interrupted_run_goes_on_with_the_images_that_are_left(paths: list[Path], tmp_path: Path) -> None:
    partial = partial_file(tmp_path / "hands_uvd.txt")
    whole = find_hands(paths, [Finder()] * 3)
    with pytest.raises(KeyboardInterrupt):
        find_hands(paths, [Finder(interrupt_at=2)] * 3, partial, {"bundle": "a"})
    rest = Finder()
    assert find_hands(paths, [rest] * 3, partial, {"bundle": "a"}, resume=True) == whole
    assert rest.seen_mm == [900]
    with pytest.raises(ValueError, match="made with bundle = 'a', expected 'b'; run without --resume"):
        find_hands(paths, [Finder()] * 3, partial, {"bundle": "b"}, resume=True)


def test_every_image_is_looked_at_by_its_own_finder(paths: list[Path]) -> None:
    first, second = Finder(), Finder()
    find_hands(paths, [first, first, second])
    assert first.seen_mm == [500, 0] and second.seen_mm == [900]


def test_joints_behind_the_camera_are_no_hand(paths: list[Path]) -> None:
    behind = SimpleNamespace(hands=[SimpleNamespace(joints=np.full((14, 3), -0.1))], reason=None)
    finder = SimpleNamespace(find=lambda depth, camera: behind)
    assert find_hands(paths[:1], [finder]) == [HandRecord(None, "joints behind the camera")]
