"""Which stages there are, and which of the poses that they went through is taken."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.attention.settings import AttentionSettings
from pose_estimation_ros.methods.render_compare import Stage, chosen_updates
from pose_estimation_ros.networks.precision import use_precision

from .scenes import BUNDLE, Scene


def test_of_the_poses_compared_the_likeliest_counts_and_of_equals_the_last(
    refiner: Attention, scenes: list[Scene]
) -> None:
    scene = scenes[0]
    (stage,) = refiner.trace(scene.frame, scene.hypotheses[:2], 1)

    def after(*rows: tuple[float, float]) -> list[int]:
        trace = [replace(stage, prediction=replace(stage.prediction, similarity=torch.tensor(row))) for row in rows]
        return chosen_updates(trace, None, refiner.settings.similarity_margin).tolist()

    assert after((0.5, 0.5), (0.6, 0.4), (0.8, 0.3)) == [2, 0]
    assert after((0.5, 0.5), (0.800, 0.6), (0.795, 0.5)) == [2, 1]
    assert after((0.5, 0.5)) == [1, 1]  # one stage compares the start alone


@pytest.fixture(scope="module")
def two_sizes(refiner: Attention) -> Attention:
    network = copy(refiner.network)
    network.coarse_sizes = (64,)
    settings = AttentionSettings(rotation_hypotheses=0)
    return Attention(network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, settings)


def test_coarse_stages_come_first_and_only_where_nothing_is_said_of_stages(
    two_sizes: Attention, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    compare = two_sizes.compare

    def watched(*arguments: Any) -> Stage:
        stage = compare(*arguments)
        seen.append(stage.observed.shape[-1])
        return stage

    monkeypatch.setattr(two_sizes, "compare", watched)
    scene = scenes[0]
    all_stages = two_sizes.refine(scene.frame, scene.detections, scene.hypotheses)
    two = two_sizes.refine(scene.frame, scene.detections, scene.hypotheses, stages=2)
    assert seen == [64, 80, 80, 80, 80, 80]
    assert {item.comparisons for item in all_stages} == {4} and {item.comparisons for item in two} == {2}
    with pytest.raises(ValueError, match="stages = 0"):
        two_sizes.refine(scene.frame, scene.detections, scene.hypotheses, stages=0)


@pytest.mark.parametrize(
    ("stages", "coarse_stages", "sizes"),
    [(4, 1, [64, 80, 80, 80]), (4, 3, [64, 64, 64, 80]), (3, 9, [64, 64, 80]), (1, 1, [64, 80])],
)
def test_several_stages_may_see_small_images_but_not_the_last(
    two_sizes: Attention, scenes: list[Scene], stages: int, coarse_stages: int, sizes: list[int]
) -> None:
    settings = AttentionSettings(stages=stages, coarse_stages=coarse_stages)
    scene, (network, caster, size) = scenes[0], (two_sizes.network, two_sizes.caster, two_sizes.size)
    refiner = Attention(network, caster, BUNDLE.catalog, two_sizes.outline, size, settings)
    assert [stage.cameras.size for stage in refiner.trace(scene.frame, scene.hypotheses[:1])] == sizes


def test_networks_without_small_images_have_none(refiner: Attention, scenes: list[Scene]) -> None:
    scene, settings = scenes[0], AttentionSettings(coarse_stages=3, compare_start=False, rotation_hypotheses=0)
    arguments = (refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size)
    trace = Attention(*arguments, settings).trace(scene.frame, scene.hypotheses[:1])
    assert not refiner.network.coarse_sizes and {stage.cameras.size for stage in trace} == {refiner.size}

    def poses(used: AttentionSettings) -> list[np.ndarray]:
        found = Attention(*arguments, used).refine(scene.frame, scene.detections, scene.hypotheses)
        return [item.camera_from_object for item in found]

    refined = poses(settings)
    np.testing.assert_array_equal(refined, poses(AttentionSettings(rotation_hypotheses=0)))
    start = [item.camera_from_object for item in scene.hypotheses]
    moved = [np.linalg.norm(after[:3, 3] - before[:3, 3]) for after, before in zip(refined, start, strict=True)]
    assert max(moved) > 0.0 and all(np.linalg.det(pose[:3, :3]) > 0.99 for pose in refined)


def test_two_stages_at_the_full_size_know_the_covariance(two_sizes: Attention, scenes: list[Scene]) -> None:
    scene, (network, caster, size) = scenes[0], (two_sizes.network, two_sizes.caster, two_sizes.size)

    def covariances(coarse_stages: int) -> list[np.ndarray | None]:
        settings = AttentionSettings(coarse_stages=coarse_stages, compare_start=False, rotation_hypotheses=0)
        refiner = Attention(network, caster, BUNDLE.catalog, two_sizes.outline, size, settings)
        found = refiner.refine(scene.frame, scene.detections, scene.hypotheses)
        return [item.covariance for item in found if not item.rejected]

    known, unknown = covariances(coarse_stages=2), covariances(coarse_stages=3)
    assert known and all(item is not None and np.linalg.eigvalsh(item).min() > 0.0 for item in known)
    assert unknown and all(item is None for item in unknown)


def test_the_start_is_kept_only_if_it_is_compared(
    two_sizes: Attention, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes[0]

    def refined(compare_start: bool) -> list[bool]:
        settings = AttentionSettings(rotation_hypotheses=0, compare_start=compare_start)
        arguments = (two_sizes.network, two_sizes.caster, BUNDLE.catalog, two_sizes.outline, two_sizes.size, settings)
        refiner = Attention(*arguments)
        monkeypatch.setattr(refiner, "similarity_at", lambda _picture, index, _start: torch.ones(len(index)))
        found = refiner.refine(scene.frame, scene.detections, scene.hypotheses)
        assert all(np.linalg.det(item.camera_from_object[:3, :3]) > 0.99 for item in found)
        pairs = zip(found, scene.hypotheses, strict=True)
        return [np.allclose(after.camera_from_object, before.camera_from_object) for after, before in pairs]

    assert all(refined(compare_start=True)) and not any(refined(compare_start=False))


def test_in_a_hurry_no_other_rotations_are_tried(refiner: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    settings = AttentionSettings(stages=2, retry_error_threshold=1e-6)
    judge = Attention(refiner.network, refiner.caster, BUNDLE.catalog, refiner.outline, refiner.size, settings)
    (found,) = judge.refine(scene.frame, scene.detections[:1], scene.hypotheses[:1], thorough=False)
    assert found.comparisons == 2


@torch.inference_mode()
def test_likeness_is_compared_between_images_of_one_size(two_sizes: Attention, scenes: list[Scene]) -> None:
    scene = scenes[0]
    trace = two_sizes.trace(scene.frame, scene.hypotheses[:2])[:3]
    assert [stage.cameras.size for stage in trace] == [64, 80, 80]

    def after(first: float, *similarity: float) -> int:
        known = [
            replace(stage, prediction=replace(stage.prediction, similarity=torch.tensor([value])))
            for stage, value in zip(trace, similarity, strict=True)
        ]
        return int(chosen_updates(known, torch.tensor([first]), two_sizes.settings.similarity_margin))

    assert after(0.5, 0.9, 0.6, 0.7) == 2  # what the first stage says is of smaller images
    assert after(0.5, 0.9, 0.7, 0.6) == 1
    assert after(0.8, 0.1, 0.7, 0.6) == 0


# Cosines of features in bfloat16 are off by 2^-8 of their vectors' lengths, which are one; the rest is float32.
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2.0**-8)])
@torch.inference_mode()
def test_similarity_without_a_comparison_is_that_of_the_comparison(
    two_sizes: Attention, scenes: list[Scene], precision: str, tolerance: float
) -> None:
    scene = scenes[0]
    with use_precision(precision):
        (full,) = two_sizes.trace(scene.frame, scene.hypotheses[:2], 1)
        alone = two_sizes.similarity(scene.frame, scene.hypotheses[:2])
    torch.testing.assert_close(alone, full.prediction.similarity, rtol=0.0, atol=tolerance)
