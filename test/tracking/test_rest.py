"""One or two instances before a camera that rests, which the images tell."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.tracking.tracker import Tracker

from .test_identities import CAMERA, CATALOG, FRAME_NS, MUG, PLATE, _at


def _tracked(tracker: Tracker, frame: int, rests: bool, *poses: np.ndarray) -> np.ndarray:
    """Feed poses of mug and plate; return that of the mug."""
    kinds = (MUG, PLATE)[: len(poses)]
    hypotheses = [
        PoseHypothesis(kind, row, pose, 0.9) for row, (kind, pose) in enumerate(zip(kinds, poses, strict=True))
    ]
    boxes = [Detection(kind, 0.9, np.zeros(4)) for kind in kinds]
    return tracker.update(hypotheses, boxes, CAMERA, frame * FRAME_NS, rests)[0].camera_from_object


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_instances_rest_where_the_images_say_that_the_camera_does(count):
    """Without that, three are needed to know."""
    spread = {}
    for rests in (False, True):
        rng, tracker, x = np.random.default_rng(1), Tracker(CATALOG), []
        for frame in range(40):
            poses = [_at(0.3 * kind + rng.normal(0.0, 0.005)) for kind in range(count)]
            x.append(_tracked(tracker, frame, rests, *poses)[0, 3])
        spread[rests] = np.std(x[10:])
    assert spread[True] < 0.001
    assert spread[True] < 0.6 * spread[False]


def test_what_moves_before_a_camera_at_rest_is_followed():
    rng, tracker, behind = np.random.default_rng(2), Tracker(CATALOG), []
    for frame in range(60):
        x = -0.2 if frame < 20 else -0.2 + 0.01 * (frame - 20)  # 10 cm a second from the twentieth frame on
        pose = _tracked(tracker, frame, True, _at(x + rng.normal(0.0, 0.002)))
        behind.append(abs(pose[0, 3] - x))
    assert max(behind[5:20]) < 0.003
    assert max(behind[20:]) < 0.025
    assert np.mean(behind[25:]) < 0.005
