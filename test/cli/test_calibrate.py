"""pose_calibrate: its score tells right poses from wrong ones, and what it cannot do it says in one line."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.cli import calibrate
from pose_estimation_ros.cli.calibrate import main
from pose_estimation_ros.cli.settings_options import domain_of_renderings
from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.data.pose_scenes import PoseScene, PoseSceneConfig, PoseSceneSource
from pose_estimation_ros.methods.base import Method, PoseHypothesis
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.settings import Settings

METHODS = ["--backend", "knowing", "--set", "detector.method=told", "--device", "cpu"]


class Oracle:
    """Knows the last scene, and says more or less than the truth about it."""

    scene: PoseScene | None = None
    honest = True  # whether scores have to do with errors

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def detect(self, frame, score_threshold):
        assert self.scene is not None
        found = []
        for kind, pose in zip(self.scene.object_index, self.scene.camera_from_object, strict=True):
            x, y = frame.camera.project(pose[:3, 3][None])[0]
            half = 0.06 * frame.camera.intrinsics[0, 0] / pose[2, 3]
            box = np.array([x - half, y - half, x + half, y + half])
            score = self.random.uniform(0.15, 1.0)
            found.append(Detection(int(kind), score, box))
        return found

    def estimate(self, frame, crops, detections):
        assert self.scene is not None
        hypotheses = []
        for number, item in enumerate(detections):
            middle = (item.box[:2] + item.box[2:]) / 2.0
            pixels = frame.camera.project(self.scene.camera_from_object[:, :3, 3])
            pose = self.scene.camera_from_object[np.linalg.norm(pixels - middle, axis=1).argmin()].copy()
            doubt = 1.0 - (item.score if self.honest else self.random.uniform(0.15, 1.0))
            pose[:3, 3] *= 1.0 + 0.1 * doubt + self.random.normal(0.0, 0.005)
            hypotheses.append(PoseHypothesis(item.object_index, number, pose, item.score))
        return hypotheses


class NoSettings(Settings):
    """None."""


@pytest.fixture
def bundle(tmp_path: Path, tiny_bop: Path, monkeypatch: pytest.MonkeyPatch, install_method) -> Path:
    """Write a bundle of the tiny data set's two objects whose methods know the truth."""
    oracle, module = Oracle(), types.ModuleType("oracle_code")
    module.NoSettings, module.load_backend, module.load_detector = NoSettings, Told(oracle), lambda context: oracle
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = {"summary": "Knows.", "paper": "none", "settings": "oracle_code:NoSettings"}
    install_method(
        Method("knowing", "backend", load="oracle_code:load_backend", **code),
        Method("told", "detector", load="oracle_code:load_detector", **code),
    )
    make = PoseSceneSource.next

    def remember(source):
        oracle.scene = make(source)
        return oracle.scene

    monkeypatch.setattr(PoseSceneSource, "next", remember)
    small = PoseSceneConfig(width=160, height=120, focal_px=(150.0, 170.0), clutter=(0, 2))
    monkeypatch.setattr(calibrate, "PoseSceneConfig", lambda: small)
    monkeypatch.setattr(calibrate, "background_pool", lambda count, **options: background_pool(4, 64, **options))
    path = tmp_path / "bundle"
    prior = PosePrior(elevation_deg=(0.0, 80.0), distance_m=(0.4, 0.8))
    save_bundle(Bundle(path, "tiny", BopDataset(tiny_bop).catalog, {}, prior, meshes=None))
    return path


class Told:
    """Hands out an oracle as a backend."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        oracle.crop_size, oracle.crop_padding = 16, 1.5

    def __call__(self, context):
        return self.oracle


def test_the_score_becomes_the_chance_to_be_right(bundle, tiny_bop, capsys):
    mesh_dir = tiny_bop / "models"
    assert main(["--bundle", str(bundle), "--mesh-dir", str(mesh_dir), "--scenes", "50", *METHODS]) == 0
    (entry,) = load_bundle(bundle).scores
    assert (entry.backend, entry.refiner, entry.detector) == ("knowing", "none", "told")
    assert entry.terms["detection"].weight > 0.5
    assert entry.fit["scenes"] == 50 and "pose_calibrate --bundle" in entry.fit["command"]
    assert entry.fit["held_out_ranking"] > 0.95 and entry.fit["held_out_calibration_error"] < 0.15
    assert "held_out_ranking" in capsys.readouterr().out
    pipeline = Pipeline(load_bundle(bundle), "knowing", device="cpu", mesh_dir=mesh_dir, detector="told")
    assert pipeline.verifier is not None and pipeline.least_score == 0.5


def test_scores_that_have_nothing_to_do_with_errors_are_given_no_weight(bundle, tiny_bop, monkeypatch):
    monkeypatch.setattr(Oracle, "honest", False)
    arguments = ["--bundle", str(bundle), "--mesh-dir", str(tiny_bop / "models"), "--scenes", "40"]
    assert main([*arguments, *METHODS]) == 0
    (entry,) = load_bundle(bundle).scores
    assert "detection" not in entry.terms or entry.terms["detection"].weight < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenes", "0"], "--scenes 0: expected at least 1"),
        (["--scenes", "3"], r"expected at least 100, and 3 % of them right"),
        (["--backend", "nobody"], "nobody"),
        (["--background-folder", "/nowhere"], "/nowhere: no pictures"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(bundle, tiny_bop, capsys, options, message):
    before = (bundle / "bundle.yaml").read_text()
    arguments = ["--bundle", str(bundle), "--mesh-dir", str(tiny_bop / "models"), *METHODS, *options]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("pose_calibrate: error: ") and message in error
    assert (bundle / "bundle.yaml").read_text() == before


def test_without_meshes_it_says_where_they_go(bundle, capsys):
    assert main(["--bundle", str(bundle), "--scenes", "1", *METHODS]) == 2
    assert "--mesh-dir" in capsys.readouterr().err


def test_scenes_are_renderings_to_methods_that_ask():
    asking = ("attention", "corners", "heatmaps", "nemo", "patches", "pix2pose", "unseen")
    assert domain_of_renderings() == {f"{name}.domain": "synthetic" for name in asking}
