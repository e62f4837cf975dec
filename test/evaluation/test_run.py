"""Running a pipeline over a data set: boxes from the ground truth, interruption and resumption."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset, BopTarget
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.run import Runner, disturbed, run_images, truth_detections


@dataclass(frozen=True)
class _Pose:
    object_index: int
    camera_from_object: np.ndarray
    score: float


@dataclass(frozen=True)
class _Result:
    poses: list[_Pose]
    detections: list[Detection]
    timings_s: dict[str, float]
    reason: str | None


class _Pipeline:
    """Puts every detection 1 m before the camera; counts its frames, and is interrupted at one of them."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.seen: list[list[Detection]] = []
        self._interrupt_at = interrupt_at

    def process(self, frame: Frame, detections: list[Detection] | None = None) -> _Result:
        if len(self.seen) == self._interrupt_at:
            raise KeyboardInterrupt
        assert detections is not None
        self.seen.append(detections)
        pose = np.eye(4)
        pose[2, 3] = 1.0
        poses = [_Pose(item.object_index, pose, item.score) for item in detections]
        timings = {"detection": 0.0, "pose": 0.01, "total": 0.01}
        return _Result(poses, detections, timings, None if poses else "no detections")


def _draw(result: _Result) -> dict[str, np.ndarray]:
    return {"votes": np.full((120, 160, 3), 40 * len(result.detections), np.uint8)}


class _Detector:
    def detect(self, frame: Frame, score_threshold: float) -> list[Detection]:
        box = np.array([10.0, 10.0, 30.0, 40.0])
        return [Detection(1, score, box + score) for score in (0.9, 0.8, 0.7, 0.6) if score >= score_threshold]


def _comparable(records) -> list:
    return [
        (item.scene_id, item.image_id, item.reason, len(item.estimates), [box.box.tolist() for box in item.boxes])
        for item in records
    ]


def test_ground_truth_boxes_are_clipped_and_hidden_instances_left_out(tiny_bop: Path) -> None:
    dataset = BopDataset(tiny_bop)
    image = dataset.images[1]
    targets = [target for target in dataset.targets if target.image_id == 1]
    full = truth_detections(image, targets, dataset.catalog, "full")
    assert [item.object_index for item in full] == [0, 1, 1]
    for item in full:
        assert (item.box >= 0).all()
        assert (item.box <= [159, 119, 159, 119]).all()
    visible = truth_detections(image, targets, dataset.catalog, "visible")
    areas = [np.prod([item.box[2:] - item.box[:2] for item in items], axis=1).sum() for items in (full, visible)]
    assert areas[0] >= areas[1] > 0
    assert all(item.is_tight for item in full), "they end where the object does"
    assert not any(item.is_tight for item in visible), "what hides the object ends them too"
    hidden = [BopTarget(7, 2, 1, 1), BopTarget(7, 2, 2, 1)]
    assert [item.object_index for item in truth_detections(dataset.images[2], hidden, dataset.catalog)] == [1]


def test_pictures_of_the_backend_are_kept_by_name_and_image(tiny_bop: Path, tmp_path: Path) -> None:
    dataset = BopDataset(tiny_bop)
    runner = Runner(_Pipeline(), dataset.catalog, _Detector(), score_threshold=0.65, debug_dir=tmp_path, draw=_draw)
    run_images(dataset, dataset.targets, runner)
    keys = [f"{scene:06d}_{image:06d}.jpg" for scene, image in sorted(item.key for item in dataset.images)]
    assert sorted(path.name for path in (tmp_path / "votes").iterdir()) == keys
    assert abs(float(cv2.imread(str(tmp_path / "votes" / keys[0])).mean()) - 80.0) < 3.0  # two detections


@pytest.mark.parametrize(
    ("candidates", "expected"), [(1, [[0.9], [0.9, 0.8], [0.9]]), (2, [[0.9, 0.8], [0.9, 0.8, 0.7], [0.9, 0.8]])]
)
def test_the_detector_fills_the_instances_asked_for(
    tiny_bop: Path, candidates: int, expected: list[list[float]]
) -> None:
    dataset, pipeline = BopDataset(tiny_bop), _Pipeline()
    runner = Runner(pipeline, dataset.catalog, _Detector(), score_threshold=0.65, candidates=candidates)
    records = run_images(dataset, dataset.targets, runner)
    assert [[item.score for item in items] for items in pipeline.seen] == expected
    assert [len(record.boxes) for record in records] == [3, 3, 3]  # all of them count for the average precision
    assert records[0].estimates[0].object_id == 2
    assert records[0].time_s == records[0].estimates[0].time_s > 0


def test_an_interrupted_run_resumes_with_the_same_result(tiny_bop: Path, tmp_path: Path) -> None:
    dataset, partial = BopDataset(tiny_bop), tmp_path / "x.csv.partial.jsonl"
    whole = run_images(dataset, dataset.targets, Runner(_Pipeline(), dataset.catalog))
    with pytest.raises(KeyboardInterrupt):
        run_images(dataset, dataset.targets, Runner(_Pipeline(interrupt_at=2), dataset.catalog), partial, {"a": 1})
    rest = _Pipeline()
    resumed = run_images(dataset, dataset.targets, Runner(rest, dataset.catalog), partial, {"a": 1}, resume=True)
    assert len(rest.seen) == 1
    assert _comparable(resumed) == _comparable(whole)
    np.testing.assert_array_equal(resumed[0].estimates[0].camera_from_object, whole[0].estimates[0].camera_from_object)


def test_a_line_cut_short_is_done_again(tiny_bop: Path, tmp_path: Path) -> None:
    dataset, partial = BopDataset(tiny_bop), tmp_path / "x.csv.partial.jsonl"
    run_images(dataset, dataset.targets, Runner(_Pipeline(), dataset.catalog), partial, {})
    partial.write_text(partial.read_text()[:-30])
    again = _Pipeline()
    records = run_images(dataset, dataset.targets, Runner(again, dataset.catalog), partial, {}, resume=True)
    assert (len(again.seen), len(records)) == (1, 3)
    assert all(json.loads(line) for line in partial.read_text().splitlines())


def test_resuming_under_other_settings_is_refused(tiny_bop: Path, tmp_path: Path) -> None:
    dataset, partial = BopDataset(tiny_bop), tmp_path / "x.csv.partial.jsonl"
    runner = Runner(_Pipeline(), dataset.catalog)
    run_images(dataset, dataset.targets, runner, partial, {"backend": "pix2pose"})
    with pytest.raises(ValueError, match="made with backend = 'pix2pose', expected 'heatmaps'"):
        run_images(dataset, dataset.targets, runner, partial, {"backend": "heatmaps"}, resume=True)


def test_empty_results_keep_their_reason(tiny_bop: Path) -> None:
    dataset = BopDataset(tiny_bop)
    runner = Runner(_Pipeline(), dataset.catalog, _Detector(), score_threshold=0.95)
    assert [record.reason for record in run_images(dataset, dataset.targets, runner)] == ["no detections"] * 3


def test_boxes_are_disturbed_as_much_as_asked_and_always_alike():
    boxes = [Detection(0, 1.0, np.array([10.0, 20.0, 50.0, 40.0])) for _ in range(200)]
    assert disturbed(boxes, 0.0, (1, 2)) == boxes
    found = np.array([item.box for item in disturbed(boxes, 0.2, (1, 2))])
    np.testing.assert_array_equal(found, [item.box for item in disturbed(boxes, 0.2, (1, 2))])
    shift = ((found[:, :2] + found[:, 2:]) / 2.0 - [30.0, 30.0]) / [40.0, 20.0]
    scale = np.log((found[:, 2:] - found[:, :2]) / [40.0, 20.0])
    for errors in (shift, scale):
        assert 0.18 < np.abs(errors).max() <= 0.2 and abs(errors.mean()) < 0.03
    assert not np.allclose(found, [item.box for item in disturbed(boxes, 0.2, (1, 3))])
