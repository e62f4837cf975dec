"""Boxes place objects where they say anything, and leave them where they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pnp import PnpResult
from pose_estimation_ros.methods.box_prior import BoxPriorSettings, refit_in_box

CAMERA = Camera(np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
OUTLINE = np.array([[x, y, z] for x in (-0.05, 0.05) for y in (-0.05, 0.05) for z in (-0.05, 0.05)])
BOX = Detection(0, 1.0, np.array([280.0, 200.0, 360.0, 280.0]))
UNCERTAINTY = BoxPriorSettings().uncertainty(4.0)


def result_at(depth_m: float) -> PnpResult:
    pose = np.eye(4)
    pose[2, 3] = depth_m
    return PnpResult(pose, np.ones(8, dtype=bool), np.eye(6), 1.0)


class Solver:
    """Puts the object where the prior has it, or finds nothing."""

    def __init__(self, fails: bool = False) -> None:
        self.calls: list[dict[str, Any]] = []
        self.fails = fails

    def __call__(self, **arguments: Any) -> PnpResult | None:
        self.calls.append(arguments)
        return None if self.fails else result_at(arguments["translation_prior"].depth_m)


def test_the_box_places_the_object() -> None:
    solver = Solver()
    placed = refit_in_box(result_at(2.0), solver, BOX, OUTLINE, CAMERA, UNCERTAINTY)
    assert placed.camera_from_object[2, 3] == pytest.approx(600.0 * 0.1 / 80.0 + 0.05, rel=1e-3)
    assert [call["iterations"] for call in solver.calls] == [0, 0]
    prior = solver.calls[0]["translation_prior"]
    assert prior.redundancy == 4.0
    np.testing.assert_allclose(prior.pixel_deviation, 0.03 * 80.0)


@pytest.mark.parametrize(
    ("detection", "outline"),
    [
        (replace(BOX, is_tight=False), OUTLINE),
        (replace(BOX, box=np.array([-0.5, 200.0, 60.0, 280.0])), OUTLINE),  # cut by the rim
        (BOX, np.zeros((96, 3))),
        (BOX, np.zeros((0, 3))),
    ],
)
def test_what_says_nothing_leaves_the_pose(detection: Detection, outline: np.ndarray) -> None:
    solver, first = Solver(), result_at(2.0)
    assert refit_in_box(first, solver, detection, outline, CAMERA, UNCERTAINTY) is first
    assert solver.calls == []


def test_a_box_that_contradicts_the_correspondences_leaves_the_pose() -> None:
    solver, first = Solver(fails=True), result_at(2.0)
    assert refit_in_box(first, solver, BOX, OUTLINE, CAMERA, UNCERTAINTY) is first
    assert len(solver.calls) == 1
