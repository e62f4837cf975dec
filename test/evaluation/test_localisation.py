"""Matching estimates with ground truth, and the scores that come of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset, BopTarget
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.detection_ap import BoxDetection
from pose_estimation_ros.evaluation.localisation import match, object_points, target_errors, target_instances
from pose_estimation_ros.evaluation.report import box_truths, evaluate
from pose_estimation_ros.evaluation.scores import score_targets
from pose_estimation_ros.evaluation.silhouettes import Silhouettes

LMO = Path(os.environ.get("LMO_DIR", Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "lmo"))


def _truth_as_estimates(dataset: BopDataset) -> list[Estimate]:
    return [
        Estimate(*image.key, truth.object_id, 0.5, truth.camera_from_object.copy(), 0.1)
        for image in dataset.images
        for truth in image.ground_truth
    ]


def _truth_as_boxes(dataset: BopDataset) -> list[BoxDetection]:
    truths = box_truths(dataset, {item.object_id for image in dataset.images for item in image.ground_truth}, "full")
    return [BoxDetection(item.image, item.object_id, 0.5, item.box) for item in truths]


def _shifted(estimate: Estimate, shift_m: tuple[float, float, float], score: float | None = None) -> Estimate:
    pose = estimate.camera_from_object.copy()
    pose[:3, 3] += shift_m
    return replace(estimate, camera_from_object=pose, score=estimate.score if score is None else score)


@pytest.fixture(scope="module")
def dataset(tiny_bop: Path) -> BopDataset:
    return BopDataset(tiny_bop)


@pytest.fixture(scope="module")
def models(dataset: BopDataset):
    return object_points(dataset.models_dir, dataset.catalog, [1, 2])


def test_match_is_greedy_by_score_and_one_to_one() -> None:
    errors = np.array([[0.3, 0.2], [0.1, 0.15], [0.0, 0.0]])
    assert match(errors, np.inf).tolist() == [1, 0]  # the best row takes column 1, the next what is left
    assert match(errors, 0.2).tolist() == [1, 2]  # the best row is beyond the threshold
    assert match(errors[:1], 0.1).tolist() == [-1, -1]
    assert match(np.zeros((0, 2)), 1.0).tolist() == [-1, -1]
    assert match(np.zeros((2, 0)), 1.0).tolist() == []


def test_truth_scores_one_everywhere(dataset: BopDataset, models) -> None:
    render = Silhouettes(dataset.models_dir, dataset.catalog).depth
    result = evaluate(
        dataset, dataset.targets, _truth_as_estimates(dataset), models, _truth_as_boxes(dataset), render_depth=render
    )
    for scores in (*result.objects.values(), result.mean, result.all):
        for name in (
            "found",
            "add_s_0_1d",
            "add_0_1d",
            "projection_5px",
            "5cm_5deg",
            "ar_mssd",
            "ar_mspd",
            "ar_vsd",
            "ar",
        ):
            assert scores[name] == 1.0, name
        assert scores["auc_add"] == pytest.approx(100.0, abs=1e-4)
        assert scores["acc_pi_18"] == 1.0
        assert scores["median_translation_m"] < 1e-6
    assert result.mean["ap"] == result.mean["ap50"] == 1.0
    assert (result.all["instances"], result.objects[2]["instances"]) == (6, 4)
    assert max(float(item.errors["mssd"].min(axis=0).max()) for item in result.targets) < 1e-6


def test_missing_poses_are_wrong_and_counted(dataset: BopDataset, models) -> None:
    estimates = [item for item in _truth_as_estimates(dataset) if item.image_id == 0]
    scores = evaluate(dataset, dataset.targets, estimates, models).all
    for name in ("found", "add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd", "acc_pi_6"):
        assert scores[name] == pytest.approx(2 / 6), name
    assert scores["auc_add_s"] == pytest.approx(100 * 2 / 6, abs=1e-4)
    assert np.isnan(scores["ar_vsd"])
    assert scores["ar"] == pytest.approx(2 / 6)


def test_no_estimates_at_all_score_zero(dataset: BopDataset, models) -> None:
    scores = evaluate(dataset, dataset.targets, [], models).all
    assert (scores["found"], scores["add_s_0_1d"], scores["ar"], scores["auc_add_s"]) == (0.0, 0.0, 0.0, 0.0)


def test_both_instances_must_be_found(dataset: BopDataset, models) -> None:
    target = BopTarget(7, 1, 2, 2)
    twice = [item for item in _truth_as_estimates(dataset) if item.image_id == 1 and item.object_id == 2][:1] * 2
    scores = score_targets(target_errors(dataset, [target], twice, models), models)
    assert scores["add_s_0_1d"] == 0.5
    assert scores["ar_mssd"] == 0.5


def test_only_as_many_estimates_compete_as_instances_are_asked_for(dataset: BopDataset, models) -> None:
    target = BopTarget(7, 0, 2, 1)
    right = next(item for item in _truth_as_estimates(dataset) if item.image_id == 0 and item.object_id == 2)
    wrong = _shifted(right, (0.3, 0.0, 0.0), score=0.9)
    assert score_targets(target_errors(dataset, [target], [right, wrong], models), models)["ar_mssd"] == 0.0
    wrong = replace(wrong, score=0.1)
    assert score_targets(target_errors(dataset, [target], [right, wrong], models), models)["ar_mssd"] == 1.0


def test_the_most_visible_instance_is_asked_for(dataset: BopDataset) -> None:
    image = dataset.images[1]
    cubes = [item for item in image.ground_truth if item.object_id == 2]
    chosen = target_instances(image, BopTarget(7, 1, 2, 1))
    assert [item.visibility for item in chosen] == [max(item.visibility for item in cubes)]


def test_average_recall_counts_the_thresholds_passed(dataset: BopDataset, models) -> None:
    """A shift by 0.22 diameters along the optical axis passes the thresholds 0.25 to 0.50: 6 of 10."""
    target = BopTarget(7, 0, 1, 1)
    truth = next(item for item in _truth_as_estimates(dataset) if item.image_id == 0 and item.object_id == 1)
    moved = _shifted(truth, (0.0, 0.0, 0.22 * models[1].diameter_m))
    scores = score_targets(target_errors(dataset, [target], [moved], models), models)
    assert scores["ar_mssd"] == pytest.approx(0.6)
    assert scores["add_s_0_1d"] == 0.0


def test_five_centimetres_and_degrees_are_one_criterion(dataset: BopDataset, models) -> None:
    target = BopTarget(7, 0, 1, 1)
    truth = next(item for item in _truth_as_estimates(dataset) if item.image_id == 0 and item.object_id == 1)
    for shift, expected in (((0.0, 0.0, 0.049), 1.0), ((0.0, 0.0, 0.051), 0.0)):
        found = [_shifted(truth, shift)]
        assert score_targets(target_errors(dataset, [target], found, models), models)["5cm_5deg"] == expected


def test_symmetric_objects_are_scored_by_their_looks(dataset: BopDataset, models) -> None:
    turned = [
        replace(item, camera_from_object=item.camera_from_object @ models[item.object_id].symmetries[-1])
        for item in _truth_as_estimates(dataset)
    ]
    cubes = evaluate(dataset, dataset.targets, turned, models).objects[2]
    assert (cubes["add_s_0_1d"], cubes["ar_mssd"], cubes["ar_mspd"]) == (1.0, 1.0, 1.0)
    assert cubes["add_0_1d"] == 0.0
    assert cubes["acc_pi_6"] == 0.0
    assert cubes["acc_pi_18_symmetric"] == 1.0


def test_vsd_sees_a_pose_beside_the_object(dataset: BopDataset, models) -> None:
    render = Silhouettes(dataset.models_dir, dataset.catalog).depth
    target = BopTarget(7, 0, 1, 1)
    truth = next(item for item in _truth_as_estimates(dataset) if item.image_id == 0 and item.object_id == 1)
    # Towards the camera, so that the measured depth does not hide it.
    away = _shifted(truth, (0.02, 0.15, -0.05))
    results = target_errors(dataset, [target], [away], models, render)
    assert results[0].vsd is not None
    assert results[0].vsd.min() == 1.0
    assert score_targets(results, models)["ar_vsd"] == 0.0


def test_unknown_object_is_named(dataset: BopDataset) -> None:
    with pytest.raises(ValueError, match="no object 9"):
        object_points(dataset.models_dir, dataset.catalog, [1, 9])


@pytest.mark.skipif(not LMO.is_dir(), reason=f"Occlusion-LineMOD not at {LMO}; set LMO_DIR")
def test_truth_of_occlusion_linemod_scores_one() -> None:
    dataset = BopDataset(LMO)
    dataset.images = dataset.images[::12]
    keys = {image.key for image in dataset.images}
    targets = [target for target in dataset.targets if (target.scene_id, target.image_id) in keys]
    models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in targets})
    result = evaluate(dataset, targets, _truth_as_estimates(dataset), models, _truth_as_boxes(dataset))
    assert result.all["instances"] == len(targets)
    assert {key for key, model in models.items() if model.is_symmetric} == {10, 11}
    for name in ("add_s_0_1d", "projection_5px", "5cm_5deg", "ar_mssd", "ar_mspd", "ar", "ap", "ap50"):
        assert result.mean[name] == 1.0, name
    for item in result.targets:
        for name in ("add", "adi", "mssd", "mspd", "projection", "rotation", "translation"):
            assert item.errors[name].max() < 1e-6, name
