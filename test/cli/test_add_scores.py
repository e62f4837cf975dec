"""pose_add fits the scores that are missing or are of networks that were trained since, and keeps the others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pose_estimation_ros.cli import add_scores
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.objects.score_entry import ScoreEntry

DETECTORS = ("mask_rcnn", "proposals")


def score(detector: str, refiner: str, networks: dict[str, str], intercept: float = 0.0) -> ScoreEntry:
    return ScoreEntry(
        backend="unseen", refiner=refiner, detector=detector, intercept=intercept, terms={}, networks=networks
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return one with a good score, and one of weights that are no more."""
    shutil.copytree(load_bundle("generic").path, tmp_path / "mine")
    found = load_bundle(tmp_path / "mine")
    digest = found.networks["attention"].sha256
    scores = (
        score("proposals", "none", {"attention": digest}, 1.0),
        score("mask_rcnn", "none", {"attention": "0" * 64}, 1.0),
    )
    save_bundle(replace(found, scores=scores))
    return load_bundle(found.path)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what was fitted; refiner attention has too few poses."""
    asked: list[tuple[str, str]] = []

    def pipelines(
        bundle: Bundle, device: str, chosen: Sequence[tuple[str, str]], changes: Mapping[str, Any]
    ) -> Iterator[SimpleNamespace]:
        assert changes["verification.enabled"] is False and changes["pose.score_threshold"] == 0.0
        for backend, detector in chosen:
            methods = {
                "detector_method": SimpleNamespace(name=detector),
                "backend_method": SimpleNamespace(name=backend),
            }
            yield SimpleNamespace(**methods, refiner=changes["refiner"])

    def calibrated(pipeline: SimpleNamespace, renderer: Any, scenes: Any, about: dict[str, Any]) -> ScoreEntry:
        assert len(list(scenes)) == about["scenes"] == 2
        asked.append((pipeline.detector_method.name, pipeline.refiner))
        if pipeline.refiner == "attention":
            raise ValueError("12 poses, expected at least 30")
        return score(pipeline.detector_method.name, pipeline.refiner, {})

    monkeypatch.setattr(add_scores, "usable_methods", lambda _: [("unseen", name) for name in DETECTORS])
    monkeypatch.setattr(add_scores, "pipelines", pipelines)
    monkeypatch.setattr(add_scores, "calibrated", calibrated)
    return asked


def test_what_is_missing_or_of_other_weights_is_fitted(
    bundle: Bundle, fitted: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    add_scores.calibrate_scores(bundle.path, 2, None, "cpu")
    assert fitted == [("mask_rcnn", "none"), ("mask_rcnn", "attention"), ("proposals", "attention")]
    scores = {(item.detector, item.refiner): item.intercept for item in load_bundle(bundle.path).scores}
    assert scores == {("proposals", "none"): 1.0, ("mask_rcnn", "none"): 0.0}
    said = capsys.readouterr()
    assert "the score of mask_rcnn, unseen and refiner attention is no probability: 12 poses" in said.out + said.err


def test_without_scenes_scores_of_other_weights_are_dropped(bundle: Bundle, fitted: list[tuple[str, str]]) -> None:
    add_scores.calibrate_scores(bundle.path, 0, None, "cpu")
    assert [(item.detector, item.refiner) for item in load_bundle(bundle.path).scores] == [("proposals", "none")]
    assert fitted == []
