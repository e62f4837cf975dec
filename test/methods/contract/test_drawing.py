"""What methods draw of what they saw."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.debug_images import debug_names, draw_debug_images

from .case import Case, methods_that

pytestmark = methods_that(lambda method: method.drawing)


def check_picture(picture: np.ndarray) -> None:
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert picture.flags.c_contiguous, "messages take it as it lies in memory"


@pytest.mark.parametrize("count", [1, 5])
def test_a_drawing_shows_more_than_the_image_and_always_the_same(case: Case, count: int):
    instance, view = case.load(), case.views[-1].first(count)
    before = view.frame.rgb.copy()
    picture = case.draw(instance, view)
    check_picture(picture)
    assert picture.shape != before.shape or (picture != before).any()
    np.testing.assert_array_equal(view.frame.rgb, before)  # drawn on a copy
    np.testing.assert_array_equal(case.draw(case.load(), view), picture)


def test_other_objects_make_another_drawing(case: Case):
    instance, view = case.load(), case.views[-1]
    one, many = case.draw(instance, view.first(1)), case.draw(instance, view)
    assert one.shape != many.shape or (one != many).any()


def test_the_pipeline_draws_it_under_the_methods_name(case: Case):
    view = case.views[-1]
    pipeline = case.pipeline(view.hypotheses)
    assert debug_names(pipeline) == (case.method.name,)
    picture = draw_debug_images(pipeline, pipeline.process(view.frame, view.detections))[case.method.name]
    check_picture(picture)
    np.testing.assert_array_equal(picture, case.draw(case.load(), view))


def test_without_objects_the_image_is_shown(case: Case):
    view = case.views[0]
    pipeline = case.pipeline()
    shown = draw_debug_images(pipeline, pipeline.process(view.frame, []))
    np.testing.assert_array_equal(shown[case.method.name], view.frame.rgb)
