"""Evidence: right poses have more of it than wrong ones, occlusion is no evidence against, unknowns stay unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.verification.evidence import EVIDENCE, gather_evidence, logit

from .conftest import CAMERA, at, detected, hypothesis, rectangle

WHOLE = rectangle(59.5, 99.5, 39.5, 79.5)  # the large cube at 0.55 m


def _evidence(renderer, detections, hypotheses, estimated=None):
    silhouettes = renderer.render(
        [item.object_index for item in hypotheses], [item.camera_from_object for item in hypotheses], CAMERA
    )
    return gather_evidence(detections, hypotheses if estimated is None else estimated, hypotheses, silhouettes)


def test_a_right_pose_agrees_with_mask_and_box(renderer):
    found = _evidence(renderer, [detected(0, WHOLE)], [hypothesis(0, 0, at(0.0, 0.55))])
    assert set(found) == set(EVIDENCE)
    for name in ("mask_covered", "mask_overlap", "explained", "visible", "box_overlap"):
        assert found[name][0] == pytest.approx(1.0, abs=0.03), name
    assert found["size"][0] == pytest.approx(np.log(40.0), abs=0.01)
    assert found["support"][0] == pytest.approx(logit(0.5))
    assert found["ray_deviation"][0] == pytest.approx(np.log(0.01 / 0.55))
    assert found["turn_deviation"][0] == pytest.approx(np.log(0.1))


@pytest.mark.parametrize("pose", [at(0.06, 0.55), at(0.0, 0.9), at(0.0, 0.4)])
def test_a_wrong_pose_agrees_less(renderer, pose):
    right = _evidence(renderer, [detected(0, WHOLE)], [hypothesis(0, 0, at(0.0, 0.55))])
    wrong = _evidence(renderer, [detected(0, WHOLE)], [hypothesis(0, 0, pose)])
    assert wrong["mask_overlap"][0] < right["mask_overlap"][0] - 0.2
    assert wrong["box_overlap"][0] < right["box_overlap"][0] - 0.2


def test_what_a_surer_object_hides_is_explained(renderer):
    front = at(0.02, 0.33)
    half_hidden = WHOLE & ~renderer.render([1], [front], CAMERA).masks[0]
    hider = detected(1, renderer.render([1], [front], CAMERA).masks[0])
    alone = _evidence(renderer, [detected(0, half_hidden)], [hypothesis(0, 0, at(0.0, 0.55))])
    behind = hypothesis(0, 0, at(0.0, 0.55))
    sure = _evidence(renderer, [detected(0, half_hidden), hider], [behind, hypothesis(1, 1, front, 0.7)])
    unsure = _evidence(renderer, [detected(0, half_hidden), hider], [behind, hypothesis(1, 1, front, 0.1)])
    assert alone["explained"][0] == alone["visible"][0] < 0.7
    assert sure["explained"][0] == pytest.approx(1.0, abs=0.02)
    assert sure["mask_overlap"][0] > alone["mask_overlap"][0] + 0.2
    assert unsure["explained"][0] == alone["explained"][0]


def test_the_same_object_found_twice_explains_nothing(renderer):
    half = WHOLE & rectangle(59.5, 79.5, 0, 120)
    detections = [detected(0, half), detected(0, WHOLE)]
    found = _evidence(renderer, detections, [hypothesis(0, 0, at(0.0, 0.55)), hypothesis(0, 1, at(0.0, 0.54), 0.7)])
    assert found["explained"][0] == pytest.approx(0.5, abs=0.03)


def test_rivals_are_surer_objects_of_another_kind_at_the_same_place(renderer):
    same_size = at(0.0, 0.33)  # the small cube looks as large there
    found = _evidence(
        renderer,
        [detected(0, WHOLE), detected(1, WHOLE)],
        [hypothesis(0, 0, at(0.0, 0.55)), hypothesis(1, 1, same_size, 0.7)],
    )
    assert found["rivals"][0] > 0.9
    assert found["rivals"][1] == 0.0


def test_the_refiner_speaks_where_there_is_one(renderer):
    first = hypothesis(0, 0, at(0.0, 0.5))
    refined = replace(first, camera_from_object=at(0.0, 0.55), score=0.72, similarity=0.4)
    found = _evidence(renderer, [detected(0, WHOLE)], [refined], [first])
    assert found["refiner"][0] == pytest.approx(logit(0.9))
    assert found["support"][0] == pytest.approx(logit(0.5))
    assert found["similarity"][0] == 0.4
    assert found["moved"][0] == pytest.approx(np.log(1.1))
    alone = _evidence(renderer, [detected(0, WHOLE)], [first])
    assert np.isnan([alone[name][0] for name in ("refiner", "similarity", "rejected", "moved")]).all()
    compared = _evidence(renderer, [detected(0, WHOLE)], [replace(first, similarity=0.3)])  # by a backend
    assert compared["similarity"][0] == 0.3
    assert np.isnan([compared[name][0] for name in ("refiner", "rejected", "moved")]).all()


def test_what_is_unknown_is_not_a_number(renderer):
    bare = replace(detected(0, WHOLE), mask=None)
    found = _evidence(renderer, [bare], [replace(hypothesis(0, 0, at(0.0, 0.55)), covariance=None)])
    for name in ("mask_covered", "mask_overlap", "explained", "visible", "ray_deviation", "turn_deviation"):
        assert np.isnan(found[name][0]), name
    assert found["box_overlap"][0] > 0.9


def test_a_pose_out_of_sight_has_everything_against_it(renderer):
    found = _evidence(renderer, [detected(0, WHOLE)], [hypothesis(0, 0, at(5.0, 0.55))])
    assert [found[name][0] for name in ("mask_overlap", "mask_covered", "box_overlap", "size")] == [0.0] * 4
