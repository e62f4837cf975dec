"""Following objects from frame to frame by refinement, and drawing what refiners did."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.debug_images import debug_names, draw_debug_images
from pose_estimation_ros.methods.base import LoadedMethod, Method

from .corner_cubes import CornerBackend, Keeping, box_of, frame_with_corners, pipeline_of, random_pose


def draw_red(refiner, frame, hypotheses, stages):
    refiner.drawn = [item.score for item in hypotheses], stages
    return np.full((7, 9, 3), (255, 0, 0), np.uint8)


def test_following_leaves_out_detector_and_backend_until_a_pose_is_unsure():
    truth = random_pose(14)
    backend, refiner = CornerBackend(), Keeping()
    pipeline = pipeline_of(
        [Detection(0, 0.9, box_of(truth))],
        backend,
        refiner=refiner,
        settings={"tracking.mode": "refine", "tracking.detect_every": 4, "second_looks.enabled": False},
    )
    counts = []
    for number in range(6):
        refiner.sure = number != 2
        result = pipeline.process(frame_with_corners([truth], stamp_ns=number * 33_000_000))
        assert [pose.track_id for pose in result.poses] == [0]
        assert result.detections[0].score == 0.9
        counts.append(backend.calls)
    # Detected in frame 0, followed in 1, unsure in 2 and from there every fourth frame.
    assert counts == [1, 1, 2, 2, 2, 2]


def test_following_needs_a_refiner():
    with pytest.raises(ValueError, match="needs a refiner"):
        pipeline_of([], settings={"tracking.mode": "refine"})


@pytest.fixture
def keeping(monkeypatch):
    """A refiner with a descriptor that says how it is drawn."""
    module = types.ModuleType("drawings_of_the_test")
    module.draw_red = draw_red
    monkeypatch.setitem(sys.modules, module.__name__, module)
    method = Method(
        "keeping",
        "refiner",
        "Keeps poses.",
        "",
        "nowhere:Settings",
        "nowhere:load",
        drawing=f"{module.__name__}:draw_red",
    )
    return LoadedMethod(method, Keeping())


def test_refiners_draw_what_they_did_and_images_without_detections_stay_plain(keeping):
    truth = random_pose(15)
    frame = frame_with_corners([truth])
    pipeline = pipeline_of([], CornerBackend(), refiner=keeping)
    assert debug_names(pipeline) == ("keeping",)
    np.testing.assert_array_equal(draw_debug_images(pipeline, pipeline.process(frame))["keeping"], frame.rgb)
    result = pipeline.process(frame, [Detection(0, 0.9, box_of(truth))])
    np.testing.assert_array_equal(draw_debug_images(pipeline, result)["keeping"][0, 0], (255, 0, 0))
    assert draw_debug_images(pipeline, result, ["other"]) == {}


def test_what_is_drawn_is_the_refinement_that_was_made(keeping):
    truth = random_pose(16)
    backend = CornerBackend()
    pipeline = pipeline_of(
        [Detection(0, 0.9, box_of(truth))],
        backend,
        refiner=keeping,
        settings={"tracking.mode": "refine", "tracking.stages": 3},
    )
    for number, stages in enumerate((None, 3)):
        frame = frame_with_corners([truth], stamp_ns=number * 33_000_000)
        draw_debug_images(pipeline, pipeline.process(frame))
        assert keeping.instance.drawn[1] == stages
    assert backend.calls == 1
