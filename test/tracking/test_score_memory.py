"""What is published by the mean of its scores: at once what is sure, without flicker what is not."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.tracking.score_memory import ScoreMemory
from pose_estimation_ros.tracking.settings import ScoreSettings, TrackerSettings

from .test_identities import CATALOG, FRAME_NS, MUG, PLATE, _at

LEAST = 0.5


def _memory(**settings: float) -> ScoreMemory:
    return ScoreMemory(CATALOG, TrackerSettings(scores=ScoreSettings(**settings)))


def _run(
    memory: ScoreMemory, frame: float, *seen: tuple[int, np.ndarray, float], least: float = LEAST, rests: bool = True
):
    """Feed (object, pose, score) of one frame; return where what is published is, and its score."""
    hypotheses = [PoseHypothesis(index, row, pose, score, 50) for row, (index, pose, score) in enumerate(seen)]
    kept = memory.published(hypotheses, least, round(frame * FRAME_NS), rests)
    assert [item.score for item in kept] == [seen[item.detection_index][2] for item in kept]  # own ones stay
    return [(item.detection_index, pytest.approx(item.published_score)) for item in kept]


@pytest.mark.parametrize(
    ("mean", "share", "flicker"), [(0.35, (0.0, 0.1), 0.1), (0.5, (0.5, 0.9), 0.15), (0.62, (0.95, 1.0), 0.1)]
)
def test_scores_about_the_threshold_do_not_flicker(mean, share, flicker):
    """As those of one object on a photograph with new noise in every frame."""
    scores = np.clip(np.random.default_rng(0).normal(mean, 0.15, (20, 40)), 0.02, 0.98)
    changes, published = {}, []
    for name, memory in (("alone", {"gain": 1.0, "keep_ratio": 1.0}), ("mean", {})):
        changes[name] = 0
        for row in scores:
            instance = _memory(**memory)
            told = [bool(_run(instance, frame, (MUG, _at(0.1), score))) for frame, score in enumerate(row)]
            changes[name] += np.count_nonzero(np.diff(told))
            published = [*published, *told] if name == "mean" else []
    assert changes["mean"] < flicker * changes["alone"]
    assert share[0] <= np.mean(published) <= share[1]


def test_what_is_sure_is_published_at_once_and_its_score_is_the_mean_of_late():
    memory = _memory(gain=0.4)
    told = [_run(memory, frame, (MUG, _at(0.1), score)) for frame, score in enumerate((0.9, 0.5, 0.6, 0.9))]
    assert told == [[(0, score)] for score in (0.9, 0.7, 0.66, 0.756)]


def test_what_is_sure_is_published_where_it_is_whatever_was_beside_it():
    memory = _memory()
    for frame in range(5):
        assert _run(memory, frame, (MUG, _at(0.2), 0.3)) == []
    assert _run(memory, 5, (MUG, _at(0.0), 0.9)) == [(0, 0.9)]
    turned = _at(0.2) @ rotation_about((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), 1.0)
    assert _run(memory, 6, (MUG, turned, 0.9), (PLATE, _at(0.2), 0.8)) == [(0, 0.9), (1, 0.8)]


def test_what_was_published_stays_until_its_mean_is_clearly_less():
    memory = _memory(gain=0.5, keep_ratio=0.8, least_ratio=0.0)
    scores = (0.6, 0.3, 0.45, 0.2, 0.45, 0.5, 0.6)
    told = [_run(memory, frame, (MUG, _at(0.1), score)) for frame, score in enumerate(scores)]
    # Means 0.6, 0.45, 0.45, 0.325, 0.3875, 0.44375, 0.521875: below 0.4 it goes, from 0.5 on it comes back.
    assert [bool(item) for item in told] == [True, True, True, False, False, False, True]


def test_an_estimate_that_is_hardly_one_is_never_published():
    """It counts for the mean, but its pose may be anything."""
    memory = _memory(least_ratio=0.5)
    told = [_run(memory, frame, (MUG, _at(0.1), score)) for frame, score in enumerate((0.9, 0.9, 0.9, 0.2, 0.3))]
    assert [bool(item) for item in told] == [True, True, True, False, True]
    assert told[-1] == [(0, 0.64)]


def test_after_a_pause_both_mean_and_favour_begin_anew():
    memory = _memory()
    _run(memory, 0, (MUG, _at(0.1), 0.2), (PLATE, _at(-0.3), 0.9))
    assert _run(memory, 11, (MUG, _at(0.1), 0.9), (PLATE, _at(-0.3), 0.45)) == [(0, 0.9)]
    assert _run(memory, 1, (MUG, _at(0.1), 0.6)) == [(0, 0.6)]  # the clock jumped back


@pytest.mark.parametrize(("missed", "kept"), [(2, True), (3, False)])
def test_what_was_not_there_for_three_frames_begins_anew(missed, kept):
    """Else what is gone would lend its score to something else in its place."""
    memory = _memory()
    for frame in range(10):
        _run(memory, frame, (MUG, _at(0.1), 0.9))
    for frame in range(10, 10 + missed):
        assert _run(memory, frame / 10 + 9) == []
    assert bool(_run(memory, 9 + (10 + missed) / 10, (MUG, _at(0.1), 0.3))) is kept


def test_frames_in_which_nobody_looked_are_no_pause():
    memory = _memory()
    _run(memory, 0, (MUG, _at(0.1), 0.6))
    for frame in range(1, 30):
        memory.pass_over(frame * FRAME_NS)
    assert _run(memory, 30, (MUG, _at(0.1), 0.4)) == [(0, 0.5)]


def test_before_a_moving_camera_every_frame_counts_alone():
    """Another instance may be where a sure one was."""
    memory = _memory()
    for frame in range(5):
        _run(memory, frame, (MUG, _at(0.0), 0.9), (MUG, _at(0.2), 0.3))
    assert _run(memory, 5, (MUG, _at(0.0), 0.4), (MUG, _at(0.2), 0.6), rests=False) == [(1, 0.6)]
    assert _run(memory, 6, (MUG, _at(0.0), 0.6), (MUG, _at(0.2), 0.3)) == [(0, 0.5), (1, 0.45)]


def test_scores_that_are_no_numbers_are_never_published_and_harm_none():
    memory = _memory()
    told = [_run(memory, frame, (MUG, _at(0.0), score)) for frame, score in enumerate((0.9, np.nan, 0.7))]
    assert told == [[(0, 0.9)], [], [(0, 0.8)]]


def test_a_threshold_that_is_raised_has_to_be_reached_and_one_that_is_lowered_takes_nothing_away():
    memory = _memory(least_ratio=0.0)
    assert _run(memory, 0, (MUG, _at(0.1), 0.9))
    assert not _run(memory, 1, (MUG, _at(0.1), 0.9), least=0.95)
    assert _run(memory, 2, (MUG, _at(0.1), 0.9), least=0.85)
    memory = _memory(gain=1.0)
    _run(memory, 0, (MUG, _at(0.1), 0.6))
    assert _run(memory, 1, (MUG, _at(0.1), 0.42))
    assert _run(memory, 2, (MUG, _at(0.1), 0.42), least=0.45)


def test_surer_estimates_choose_their_place_first():
    memory = _memory()
    _run(memory, 0, (MUG, _at(0.0), 0.9))
    assert _run(memory, 1, (MUG, _at(0.0), 0.3), (MUG, _at(0.01), 0.9)) == [(1, 0.9)]


def test_another_memory_takes_over_what_both_know():
    memory, other = _memory(), _memory()
    for frame in range(3):
        _run(other, frame, (MUG, _at(0.0), 0.2), (PLATE, _at(0.3), 0.2))
    memory.take_over(other, {PLATE: MUG})  # the plate here is the mug there
    assert _run(memory, 3, (PLATE, _at(0.0), 0.6), (MUG, _at(0.3), 0.6)) == [(1, 0.6)]
    memory.reset()
    assert _run(memory, 4, (PLATE, _at(0.0), 0.6)) == [(0, 0.6)]
