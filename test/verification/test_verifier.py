"""The verifier: probabilities for scores, nothing twice, candidates within bounds, old bundles as before."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.bundle_file import NetworkEntry
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.score_entry import ScoreEntry, ScoreTerm
from pose_estimation_ros.verification.duplicates import without_duplicates
from pose_estimation_ros.verification.settings import VerificationSettings
from pose_estimation_ros.verification.verifier import Verifier, candidates, load_verifier

from .conftest import CAMERA, at, detected, hypothesis, rectangle

ENTRY = ScoreEntry(
    backend="pix2pose",
    refiner="none",
    detector="mask_rcnn",
    intercept=-4.0,
    terms={"mask_overlap": ScoreTerm(weight=8.0, low=0.0, high=1.0, usual=0.5)},
)
WHOLE = rectangle(59.5, 99.5, 39.5, 79.5)
FRAME = Frame(np.zeros((120, 160, 3), np.uint8), CAMERA)
BOUNDS = ((-0.05,) * 3, (0.05,) * 3)
CATALOG = Catalog((ObjectModel(1, "mug", 0.17, BOUNDS, Path("mug.ply")),))
BUNDLE = Bundle(Path("nowhere"), "test", CATALOG, {}, PosePrior(), scores=(ENTRY,))


def test_scores_become_probabilities_and_the_same_thing_stays_once(renderer):
    detections = [detected(0, WHOLE, 0.6), detected(0, WHOLE, 0.9), detected(1, rectangle(10, 30, 10, 30))]
    poses = [
        hypothesis(0, 0, at(0.0, 0.55), 0.3),
        hypothesis(0, 1, at(0.015, 0.55), 0.8),  # surer, but it fits less
        hypothesis(1, 2, at(-0.4, 2.0), 0.8),
    ]
    found = Verifier(ENTRY, renderer).verify(FRAME, detections, poses, poses)
    assert [item.detection_index for item in found] == [0, 2]
    assert found[0].score == pytest.approx(1.0 / (1.0 + np.exp(-4.0)), abs=0.02)
    assert found[1].score < 0.1
    assert Verifier(ENTRY, renderer).verify(FRAME, detections, [], []) == []
    chances = Verifier(ENTRY, renderer).probabilities(FRAME, detections, poses, poses)
    assert chances[[0, 2]].tolist() == [item.score for item in found]
    assert chances[1] < chances[0]
    assert not len(Verifier(ENTRY, renderer).probabilities(FRAME, detections, [], []))


def test_objects_beside_each_other_and_behind_each_other_stay(renderer):
    poses = [at(0.0, 0.55), at(0.11, 0.55), at(0.02, 0.3)]
    found = renderer.render([0, 0, 1], poses, CAMERA)
    assert without_duplicates(found.common(), [0, 0, 1], [0.9, 0.8, 0.7], VerificationSettings()) == [0, 1, 2]


def test_two_kinds_at_the_same_pixels_cannot_both_be_right(renderer):
    found = renderer.render([0, 1], [at(0.0, 0.55), at(0.0, 0.33)], CAMERA)
    assert without_duplicates(found.common(), [0, 1], [0.3, 0.7], VerificationSettings()) == [1]


def test_sure_detections_get_a_pose_and_others_fill_up():
    found = [Detection(0, score, np.zeros(4)) for score in (0.9, 0.8, 0.2, 0.4)]
    assert [item.score for item in candidates(found, 0.5, 3)] == [0.9, 0.8, 0.4]
    assert [item.score for item in candidates(found, 0.5, 1)] == [0.9, 0.8]


def test_kinds_that_were_not_found_come_first():
    found = [Detection(kind, score, np.zeros(4)) for kind, score in ((0, 0.9), (0, 0.4), (1, 0.3), (1, 0.2), (2, 0.1))]
    chosen = [(item.object_index, item.score) for item in candidates(found, 0.5, 4)]
    assert chosen == [(0, 0.9), (1, 0.3), (2, 0.1), (0, 0.4)]


def test_every_kind_that_was_not_found_gets_a_pose_within_bounds():
    sure = [Detection(0, 0.9, np.zeros(4)), Detection(0, 0.8, np.zeros(4))]
    missing = [Detection(kind, 0.4 - 0.01 * kind, np.zeros(4)) for kind in range(1, 6)]
    again = [Detection(kind, 0.1, np.zeros(4)) for kind in range(6)]
    chosen = [item.object_index for item in candidates([*sure, *missing, *again], 0.5, 5)]
    assert chosen == [0, 0, 1, 2, 3, 4, 5]
    assert [item.object_index for item in candidates([*sure, *missing, *again], 0.5, 3)] == [0, 0, 1, 2, 3]
    assert len(candidates([*sure, *again[:2]], 0.5, 1)) == 3


def _load(bundle, settings=None, methods=("mask_rcnn", "pix2pose", "none")):
    return load_verifier(bundle, methods, settings or VerificationSettings(), None, torch.device("cpu"))


def test_bundles_without_a_score_say_so_and_go_on(caplog):
    with caplog.at_level(logging.INFO):
        assert _load(replace(BUNDLE, scores=())) is None
        assert _load(BUNDLE, methods=("patches", "pix2pose", "none")) is None
        assert _load(BUNDLE, methods=("mask_rcnn", "pix2pose", "attention")) is None
    assert "no calibrated score for pix2pose with refiner none and detector mask_rcnn" in caplog.messages[0]
    assert len(caplog.messages) == 3


def test_missing_meshes_are_told_and_poses_go_unchecked(caplog):
    assert _load(BUNDLE) is None
    assert "poses are not checked against the image" in caplog.text
    assert "mug.ply" in caplog.text


def test_switched_off_it_says_nothing(caplog):
    assert _load(BUNDLE, VerificationSettings(enabled=False)) is None
    assert not caplog.messages


def test_a_score_of_other_weights_is_used_with_a_warning(tiny_bop, caplog):
    from pose_estimation_ros.data.bop import BopDataset

    entry = ENTRY.model_copy(update={"networks": {"detector": "1" * 64}})
    networks = {"detector": NetworkEntry(file="x", sha256="2" * 64, input_size=1)}
    bundle = Bundle(
        Path(tiny_bop), "test", BopDataset(tiny_bop).catalog, networks, PosePrior(), "models", scores=(entry,)
    )
    verifier = _load(bundle)
    assert verifier is not None
    assert "fitted to other weights of detector; fit it again with pose_calibrate" in caplog.text
