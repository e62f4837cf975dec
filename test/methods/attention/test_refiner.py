"""The refiner with the demo's weights, on images that it was never trained on, with their ground truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.evaluation.metrics import add_error, adi_error
from pose_estimation_ros.methods.attention.drawing import draw
from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.attention.settings import AttentionSettings, RotationSearchSettings
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.methods.render_compare import Stage
from pose_estimation_ros.methods.view_search import Shortlist
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.mesh import load_mesh, sample_surface

from .scenes import BUNDLE, Scene


def _errors(bundle: Bundle, poses: list[PoseHypothesis], truths: list[np.ndarray]) -> list[float]:
    """Return ADD(-S) in diameters."""
    errors = []
    for item, truth in zip(poses, truths, strict=True):
        model = bundle.catalog[item.object_index]
        points = sample_surface(load_mesh(bundle.mesh_path(item.object_index), model.mesh_unit), 500)
        measure = adi_error if model.is_symmetric else add_error
        errors.append(measure(points, item.camera_from_object, truth) / model.diameter_m)
    return errors


@pytest.fixture(scope="module")
def refined(refiner: Attention, scenes: list[Scene]) -> list[list[PoseHypothesis]]:
    """Return the refined poses of every scene; they came with a covariance of one."""
    known = [[replace(item, covariance=np.eye(6)) for item in scene.hypotheses] for scene in scenes]
    return [refiner.refine(scene.frame, scene.detections, poses) for scene, poses in zip(scenes, known, strict=True)]


def test_an_object_is_as_large_in_the_warped_image_as_in_its_rendering(refiner: Attention, scenes: list[Scene]) -> None:
    """Silhouettes that are cast into the image and those cast into the virtual cameras: sides agree to 0.2 %."""
    finer, half, ratios, shifts = 4, 64, [], []
    for scene in scenes[:3]:
        camera = scene.frame.camera
        intrinsics = torch.from_numpy(camera.intrinsics).float()
        for item, truth in zip(scene.hypotheses, scene.truths, strict=True):
            index, pose = torch.tensor([item.object_index]), torch.from_numpy(truth[None]).float()
            left, top = (int(value) - half for value in camera.project(truth[None, :3, 3])[0])
            window = camera.crop(left, top, 2 * half, 2 * half).resize(2 * half * finer, 2 * half * finer)
            fine = torch.from_numpy(window.intrinsics[None]).float()
            mask = refiner.caster.render(index, pose, fine, window.height, window.width).mask[:, None].float()
            small = F.avg_pool2d(mask, finer)[0, 0]
            # The image is the window alone, with its own camera; beyond it is the grey of what lies outside.
            moved = intrinsics.clone()
            moved[0, 2] -= left
            moved[1, 2] -= top
            stage = refiner.compare(0.5 + 0.5 * small.expand(3, -1, -1), moved, index, pose, 128)
            seen, drawn = 2.0 * stage.observed[0, 0] - 1.0, stage.rendered[0, 6]
            cut = [*small[[0, -1]], *small.T[[0, -1]], *drawn[[0, -1]], *drawn.T[[0, -1]]]
            if not any(bool(line.any()) for line in cut):  # all of it is in both
                ratios.append(float(seen.sum() / drawn.sum()) ** 0.5 - 1.0)
                shifts.append(_centroid(seen) - _centroid(drawn))
    assert len(ratios) > 5
    assert abs(np.mean(ratios)) < 2e-3
    assert float(torch.stack(shifts).mean(dim=0).abs().max()) < 0.05


def _centroid(mask: torch.Tensor) -> torch.Tensor:
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in mask.shape)
    return torch.stack([(mask.sum(dim=0) * columns).sum(), (mask.sum(dim=1) * rows).sum()]) / mask.sum()


def test_poses_come_nearer_to_the_truth(refined: list[list[PoseHypothesis]], scenes: list[Scene]) -> None:
    before, after = [], []
    for scene, poses in zip(scenes, refined, strict=True):
        before += _errors(BUNDLE, scene.hypotheses, scene.truths)
        after += _errors(BUNDLE, poses, scene.truths)
    assert len(before) >= 10
    assert np.median(after) < 0.6 * np.median(before)
    assert np.mean(np.array(after) < 0.1) > np.mean(np.array(before) < 0.1) + 0.2


def test_the_score_tells_poses_that_can_be_mended_from_those_that_cannot(
    refiner: Attention, scenes: list[Scene]
) -> None:
    free = AttentionSettings(
        max_rotation_deg=180.0, max_distance_ratio=10.0, similarity_margin=2.0, rotation_hypotheses=0
    )  # keeps no pose back
    judge = Attention(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, free)
    near, far = [], []
    for scene in scenes:
        near += [item.score for item in judge.refine(scene.frame, scene.detections, scene.hypotheses)]
        turned = [replace(item, camera_from_object=_upside_down(item.camera_from_object)) for item in scene.hypotheses]
        far += [item.score for item in judge.refine(scene.frame, scene.detections, turned)]
    assert all(0.0 < score <= 0.9 for score in near + far)  # at most the detection's
    assert np.median(near) > 1.5 * np.median(far)


def test_objects_that_are_upside_down_are_turned_back(
    refiner: Attention, refined: list[list[PoseHypothesis]], scenes: list[Scene]
) -> None:
    small = AttentionSettings(rotation_hypotheses=0)
    stubborn = Attention(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, small)
    errors: dict[str, list[float]] = {"right": [], "turned": [], "stubborn": []}
    for scene, poses in zip(scenes[:2], refined, strict=False):  # searching takes long
        wrong = [replace(item, camera_from_object=_upside_down(item.camera_from_object)) for item in scene.hypotheses]
        errors["right"] += _errors(BUNDLE, poses, scene.truths)
        for name, judge in (("turned", refiner), ("stubborn", stubborn)):
            errors[name] += _errors(BUNDLE, judge.refine(scene.frame, scene.detections, wrong), scene.truths)
    right, turned, kept = (float(np.mean(np.array(item) < 0.1)) for item in errors.values())
    assert turned > 0.7 * right
    assert turned > kept + 0.5  # some objects look alike from above and below
    poses = [item.camera_from_object for item in stubborn.refine(scene.frame, scene.detections, wrong, 4)]
    told = [item.camera_from_object for item in refiner.refine(scene.frame, scene.detections, wrong, 4)]
    np.testing.assert_array_equal(poses, told)  # whoever says how many stages follows objects: they do not turn over


def test_poses_that_small_images_confirm_or_give_no_hope_for_stay_as_they_are(
    refiner: Attention, scenes: list[Scene]
) -> None:
    scene = scenes[0]

    def refined(**changes: Any) -> list[PoseHypothesis]:
        settings = AttentionSettings(retry_error_threshold=1e-6, **changes)
        tables = refiner.search.tables
        judge = Attention(
            refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, settings, tables
        )
        return judge.refine(scene.frame, scene.detections, scene.hypotheses)

    hopeless = RotationSearchSettings(hopeless_error=1e-6)
    alone, confirming, always = refined(rotation_hypotheses=0), refined(confirming_deg=20.0), refined()
    for item, plain, searched in zip(refined(search=hopeless), alone, always, strict=True):
        np.testing.assert_array_equal(item.camera_from_object, plain.camera_from_object)
        assert plain.comparisons < item.comparisons < searched.comparisons  # small images alone
    confirmed = [few.comparisons < many.comparisons for few, many in zip(confirming, always, strict=True)]
    assert np.mean(confirmed) >= 0.5
    for item, plain, kept in zip(confirming, alone, confirmed, strict=True):
        if kept:
            np.testing.assert_array_equal(item.camera_from_object, plain.camera_from_object)
            assert item.comparisons > plain.comparisons


def test_a_comparison_that_broke_does_not_take_the_hope_from_the_others(refiner: Attention) -> None:
    strict = AttentionSettings(search=RotationSearchSettings(hopeless_error=0.3))
    judge = Attention(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, strict)
    poses = torch.eye(4).repeat(3, 1, 1)
    errors = ([0.1, np.nan], [np.nan, np.nan], [0.4, 0.5])  # diameters
    shortlists = [Shortlist(poses[:2], torch.zeros(2), torch.tensor(item).log(), 2) for item in errors]
    boxes = [Detection(0, 1.0, np.array([0.0, 0.0, 9.0, 9.0]))] * 3
    assert judge._settled(boxes, poses, shortlists) == [False, True, True]


def _upside_down(pose: np.ndarray) -> np.ndarray:
    turned = pose.copy()
    turned[:3, :3] = pose[:3, :3] @ Rotation.from_euler("x", 180, degrees=True).as_matrix()
    return turned


def test_poses_that_get_rejected_stay_as_they_came_at_half_of_the_chance(
    refiner: Attention, scenes: list[Scene]
) -> None:
    scene = scenes[0]
    strict = (
        AttentionSettings(max_rotation_deg=1e-4, rotation_hypotheses=0),
        AttentionSettings(max_distance_ratio=1.0 + 1e-9, rotation_hypotheses=0),
    )
    for settings in strict:
        bounded = Attention(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, settings)
        refined = bounded.refine(scene.frame, scene.detections, scene.hypotheses)
        for kept, given in zip(refined, scene.hypotheses, strict=True):
            assert kept.camera_from_object is given.camera_from_object
            assert 0.0 < kept.score <= 0.45
        assert all(item.rejected for item in refined)
        assert sum(bounded.rejections.values()) == len(refined)


def test_a_pose_that_is_not_a_number_harms_no_other(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    broken = replace(scene.hypotheses[0], camera_from_object=np.full((4, 4), np.nan))
    refined = refiner.refine(scene.frame, scene.detections, [broken, *scene.hypotheses[1:]])
    alone = refiner.refine(scene.frame, scene.detections, scene.hypotheses)
    assert refined[0].camera_from_object is broken.camera_from_object
    assert refined[0].score == 0.0
    for a, b in zip(refined[1:], alone[1:], strict=True):
        np.testing.assert_allclose(a.camera_from_object, b.camera_from_object, atol=1e-4)


def test_covariances_say_how_far_refined_poses_are_from_the_truth(
    refined: list[list[PoseHypothesis]], scenes: list[Scene]
) -> None:
    squared = []
    for scene, poses in zip(scenes, refined, strict=True):
        for item, truth in zip(poses, scene.truths, strict=True):
            assert item.covariance is not None
            if item.rejected:  # where it was, and as exact as it was
                np.testing.assert_array_equal(item.covariance, np.eye(6))
                continue
            assert (np.linalg.eigvalsh(item.covariance) > 0.0).all()
            error = item.camera_from_object[:3, 3] - truth[:3, 3]
            squared.append(error @ np.linalg.solve(item.covariance[:3, :3], error))
    assert len(squared) >= 10
    assert 0.5 < np.median(squared) < 5.0  # 2.4 of a Gaussian


def test_a_pose_that_was_compared_with_nothing_has_no_covariance(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    known = [replace(item, covariance=np.eye(6)) for item in scene.hypotheses]
    for item in refiner.refine(scene.frame, scene.detections, known, stages=1):
        assert item.rejected or item.covariance is None


def test_a_start_more_like_the_photograph_than_all_updates_comes_back(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    calls: list[int] = []

    class Disappointing(Attention):
        """Every update makes the image less similar."""

        def compare(self, *arguments: Any) -> Stage:
            stage = super().compare(*arguments)
            calls.append(1)
            similarity = torch.full((len(stage.observed),), -0.1 * len(calls))
            return replace(stage, prediction=replace(stage.prediction, similarity=similarity))

    alone = AttentionSettings(rotation_hypotheses=0)
    strict = Disappointing(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, alone)
    for after, before in zip(
        strict.refine(scene.frame, scene.detections, scene.hypotheses), scene.hypotheses, strict=True
    ):
        np.testing.assert_allclose(after.camera_from_object, before.camera_from_object, atol=1e-6)
        assert after.score > 0.0


def test_objects_beside_the_image_do_no_harm(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    away = scene.hypotheses[0].camera_from_object.copy()
    away[0, 3] = 5.0
    refined = refiner.refine(scene.frame, scene.detections, [replace(scene.hypotheses[0], camera_from_object=away)])
    assert len(refined) == 1
    pose = refined[0].camera_from_object
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4)
    assert pose[2, 3] > 0.0


def test_many_pairs_are_compared_as_each_of_them_alone(refiner: Attention, scenes: list[Scene]) -> None:
    starts = ([item for scene in scenes for item in scene.hypotheses] * 20)[:20]
    poses = torch.from_numpy(np.stack([item.camera_from_object for item in starts])).float()
    index = torch.tensor([item.object_index for item in starts])
    picture = refiner.picture(scenes[0].frame)

    def values(chosen: slice) -> dict[str, torch.Tensor]:
        found = vars(refiner.compare(*picture, index[chosen], poses[chosen], 64).prediction)
        similarity = refiner.similarity_at(picture, index[chosen], poses[chosen])
        return {name: value for name, value in {**found, "at full size": similarity}.items() if value is not None}

    with torch.inference_mode(), use_precision("float32"):
        together = values(slice(None))
        alone = [values(slice(row, row + 1)) for row in range(len(starts))]
        nothing = values(slice(0))
    assert len(together["at full size"]) == len(starts) and len(nothing["at full size"]) == 0
    assert float(together["log_distance"].std()) > 1e-3 and float(together["at full size"].std()) > 1e-3
    for name, value in together.items():
        torch.testing.assert_close(value, torch.cat([item[name] for item in alone]), atol=1e-4, rtol=1e-4)


def test_attention_shuns_what_hides_the_object(refiner: Attention, scenes: list[Scene]) -> None:
    """The left half of every object is covered with the mirrored scene above it; attention leaves that half."""
    shares, masses, open_masses = [], [], []
    for scene in scenes:
        image = torch.from_numpy(scene.frame.rgb).permute(2, 0, 1).float() / 255.0
        intrinsics = torch.from_numpy(scene.frame.camera.intrinsics).float()
        index = torch.tensor([item.object_index for item in scene.hypotheses])
        poses = torch.from_numpy(np.stack(scene.truths)).float()
        stage = refiner.compare(image, intrinsics, index, poses)
        half = refiner.size // 2
        covered = stage.observed.clone()
        covered[..., :half] = covered[..., :half].flip(dims=(2, 3)).roll(half, dims=2)
        models = [BUNDLE.catalog[int(item)] for item in index]
        centres = np.stack(
            [pose[:3, :3] @ m.centre_m + pose[:3, 3] for pose, m in zip(scene.truths, models, strict=True)]
        )
        distance = torch.from_numpy(np.linalg.norm(centres, axis=1) / [m.diameter_m for m in models]).float()
        extent = refiner.size / stage.cameras.intrinsics[:, 0, 0] * distance
        with torch.inference_mode():
            prediction = refiner.network(covered, stage.rendered.float(), distance, extent)
        cells = prediction.attention.shape[-1]
        shown = torch.nn.functional.avg_pool2d(stage.rendered[:, 6:].float(), refiner.size // cells)[:, 0] > 0.5
        shares += (shown[..., : cells // 2].sum(dim=(1, 2)) / shown.sum(dim=(1, 2))).tolist()
        masses += prediction.attention[..., : cells // 2].sum(dim=(2, 3)).mean(dim=1).tolist()
        open_masses += stage.prediction.attention[..., : cells // 2].sum(dim=(2, 3)).mean(dim=1).tolist()
    assert np.mean(masses) < 0.75 * np.mean(shares)
    assert np.mean(masses) < 0.75 * np.mean(open_masses)


def test_every_object_gets_a_row_in_the_picture(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    one = draw(refiner, scene.frame, scene.hypotheses[:1])
    two = draw(refiner, scene.frame, scene.hypotheses[:2])
    assert two.shape[0] - one.shape[0] > 80
    assert np.abs(two[: one.shape[0]].astype(int) - one).mean() < 0.1
    assert one.std() > 20.0
    np.testing.assert_array_equal(draw(refiner, scene.frame, []), scene.frame.rgb)


def test_no_hypotheses_no_poses(refiner: Attention, scenes: list[Scene]) -> None:
    assert refiner.refine(scenes[0].frame, [], []) == []
