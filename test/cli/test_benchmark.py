"""pose_benchmark: its numbers are those of the stages, every source of images works, errors are one line."""

from __future__ import annotations

import json
import sys
import time
import types

import cv2
import numpy as np
import pytest
import torch

from pose_estimation_ros.cli.benchmark import FixedBoxes, main
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.evaluation.timing import Spread, spreads
from pose_estimation_ros.methods.base import Method, PoseHypothesis
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, save_bundle
from pose_estimation_ros.pipeline_result import STAGES
from pose_estimation_ros.settings import Settings, setting

POSE_S, DETECTION_S = 0.03, 0.05
SLOW = ["--backend", "slow", "--set", "detector.method=sleepy"]


class SlowSettings(Settings):
    pause_s: float = setting(POSE_S, "Seconds that it takes.", ge=0.0)


class SlowBackend:
    crop_size = 16
    crop_padding = 1.5

    def __init__(self, pause_s):
        self.pause_s = pause_s

    def estimate(self, frame, crops, detections):
        time.sleep(self.pause_s)
        return [PoseHypothesis(item.object_index, row, np.eye(4), 0.9) for row, item in enumerate(detections)]


class SlowDetector:
    def detect(self, frame, score_threshold):
        time.sleep(DETECTION_S)
        return []


@pytest.fixture
def bundle(tmp_path, tiny_bop, monkeypatch, install_method):
    """Write a bundle of the tiny data set's two objects whose networks only take time."""
    module = types.ModuleType("slow_code")
    module.SlowSettings = SlowSettings
    module.load_backend = lambda context: SlowBackend(context.settings.pause_s)
    module.load_quick = lambda context: SlowBackend(0.0)
    module.load_detector = lambda context: SlowDetector()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = {"summary": "Takes time.", "paper": "none", "settings": "slow_code:SlowSettings"}
    install_method(
        Method("slow", "backend", load="slow_code:load_backend", **code),
        Method("quick", "backend", load="slow_code:load_quick", **code),
        Method("sleepy", "detector", load="slow_code:load_detector", **code),
    )
    path = tmp_path / "bundle"
    save_bundle(Bundle(path, "tiny", BopDataset(tiny_bop).catalog, {}, PosePrior(), meshes=None))
    return path


def _measured(bundle, tmp_path, *options) -> dict:
    file = tmp_path / "out" / "benchmark.json"
    arguments = ["--bundle", str(bundle), *SLOW, "--device", "cpu", "--json", str(file), *options]
    assert main(arguments) == 0
    return json.loads(file.read_text())


def test_numbers_are_those_of_the_stages(bundle, tmp_path, capsys):
    found = _measured(bundle, tmp_path, "--frames", "4")
    assert found["frames"] == 4
    assert set(found["stages_ms"]) == {*STAGES, "total"}
    assert 1e3 * POSE_S <= found["stages_ms"]["pose"]["p50"] < found["stages_ms"]["total"]["p50"]
    assert 1e3 * DETECTION_S <= found["stages_ms"]["detection"]["p50"] <= found["stages_ms"]["detection"]["p90"]
    assert 0 < found["throughput_fps"] <= 1 / (POSE_S + DETECTION_S)
    assert found["peak_memory_mb"]["rss"] > 50  # Python with PyTorch
    assert found["machine"]["cpu"] and found["machine"]["torch"] == torch.__version__
    assert found["source"] == "noise"
    assert found["boxes_per_frame"] == found["poses_per_frame"] == 2  # as many as objects
    shown = capsys.readouterr().out
    assert f"| pose | {found['stages_ms']['pose']['p50']:.1f} |" in shown
    assert found["machine"]["cpu"] in shown


def test_boxes_of_a_data_set_are_those_of_its_ground_truth(bundle, tmp_path, tiny_bop):
    found = _measured(bundle, tmp_path, "--frames", "3", "--bop", str(tiny_bop))
    assert found["source"] == str(tiny_bop)
    assert found["image_size"] == "160x120"
    visible = [
        truth for image in BopDataset(tiny_bop).images for truth in image.ground_truth if truth.visibility >= 0.1
    ]
    assert found["boxes_per_frame"] == pytest.approx(len(visible) / 3)


def test_the_bundles_own_sequence_comes_before_noise(bundle, tmp_path, tiny_bop):
    (bundle / "sequence").symlink_to(tiny_bop)
    assert _measured(bundle, tmp_path, "--frames", "1")["source"] == str(bundle / "sequence")


def test_boxes_that_a_detector_is_unsure_of_lie_beside_the_others():
    boxes = FixedBoxes(None)
    boxes.boxes = [Detection(index, 1.0, np.array([10.0, 20.0, 20.0, 40.0])) for index in range(2)]
    assert boxes.detect(None, 0.1) == boxes.boxes
    boxes.candidates = 5
    found = boxes.detect(None, 0.1)
    assert found[:2] == boxes.boxes
    assert [(item.object_index, item.score) for item in found[2:]] == [(0, 0.1), (1, 0.1), (0, 0.1)]
    assert all(item.box.tolist() == [12.0, 20.0, 22.0, 40.0] for item in found[2:])
    boxes.boxes = []
    assert boxes.detect(None, 0.1) == []


def test_one_image_without_the_detector(bundle, tmp_path):
    cv2.imwrite(str(tmp_path / "desk.png"), np.zeros((90, 120, 3), np.uint8))
    found = _measured(bundle, tmp_path, "--frames", "2", "--image", str(tmp_path / "desk.png"), "--no-detector")
    assert found["image_size"] == "120x90"
    assert found["boxes_per_frame"] == 2
    assert found["stages_ms"]["detection"]["p50"] < 1e3 * DETECTION_S


def test_the_detectors_own_boxes(bundle, tmp_path):
    found = _measured(bundle, tmp_path, "--frames", "1", "--boxes", "model")
    assert found["boxes_per_frame"] == found["stages_ms"]["pose"]["p50"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames 0: expected at least 1"),
        (["--no-detector", "--boxes", "model"], "--boxes model"),
        (["--device", "gpu"], "device = 'gpu'"),
        (["--backend", "telepathy"], "backend = 'telepathy'"),
        (["--refiner", "telepathy"], "refiner = 'telepathy'"),
        (["--bop", "/no/such/folder"], "/no/such/folder/test"),
        (["--image", "/no/such.png"], "/no/such.png: not a readable image"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(bundle, capsys, options, message):
    assert main(["--bundle", str(bundle), *SLOW, "--device", "cpu", *options]) == 2
    captured = capsys.readouterr().err.strip()
    assert captured.splitlines()[-1].startswith("pose_benchmark: error: ")
    assert message in captured.splitlines()[-1]


def test_percentiles_by_hand():
    timings = [{"pose": value / 1e3} for value in range(11)]
    assert spreads(timings) == {"pose": Spread(pytest.approx(5.0), pytest.approx(9.0))}


def test_two_backends_are_compared_in_one_run(bundle, tiny_bop, tmp_path, capsys):
    content = _measured(bundle, tmp_path, "--bop", str(tiny_bop), "--compare", "quick", "--frames", "3")
    other = content["compared_with"]
    assert (content["backend"], other["backend"]) == ("slow", "quick")
    assert content["stages_ms"]["pose"]["p50"] > 1e3 * POSE_S > other["stages_ms"]["pose"]["p50"]
    # Both answer with the identity: the error is the angle of the true poses.
    assert content["median_rotation_deg"] == other["median_rotation_deg"] > 5.0
    assert "times; median rotation error" in capsys.readouterr().out


def test_an_unknown_rival_is_refused_before_anything_runs(bundle, tiny_bop, capsys):
    arguments = ["--bundle", str(bundle), *SLOW, "--bop", str(tiny_bop), "--compare", "paper"]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert "backend = 'paper': expected one of" in printed.err and "stage" not in printed.out


def test_the_second_run_may_have_settings_of_its_own(bundle, tiny_bop, tmp_path):
    options = ["--compare", "slow", "--compare-set", "slow.pause_s=0.0", "--bop", str(tiny_bop), "--frames", "3"]
    content = _measured(bundle, tmp_path, *options)
    assert content["stages_ms"]["pose"]["p50"] > 1e3 * POSE_S > content["compared_with"]["stages_ms"]["pose"]["p50"]
