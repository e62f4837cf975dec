"""Run a pose pipeline over the images of a data set; interrupted runs go on where they stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pose_estimation_ros.data.bop import MIN_VISIBILITY, BopDataset, BopImage, BopTarget, GroundTruth
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.detection_ap import BoxDetection
from pose_estimation_ros.evaluation.localisation import target_instances
from pose_estimation_ros.evaluation.partial import append_partial, begin_partial
from pose_estimation_ros.evaluation.published import AsNode
from pose_estimation_ros.methods.base import Detector
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline_result import PipelineResult
from pose_estimation_ros.rendering.drawing import save_picture

GtBox = Literal["full", "visible"]


class PosePipeline(Protocol):
    """The part of `pipeline.Pipeline` that an evaluation needs."""

    def process(self, frame: Frame, detections: list[Detection] | None = None) -> PipelineResult:
        """Estimate the poses of the given detections."""
        ...


@dataclass(frozen=True)
class ImageRecord:
    """What a pipeline said of one image."""

    scene_id: int
    image_id: int
    time_s: float  # detection and poses, without reading the image
    estimates: tuple[Estimate, ...] = ()
    boxes: tuple[BoxDetection, ...] = ()  # every detection, also those that got no pose
    timings_s: dict[str, float] = field(default_factory=dict)
    reason: str | None = None  # why there are no estimates
    candidates: tuple[Estimate, ...] = ()  # poses that the node finds, those that it holds back included


@dataclass(frozen=True)
class Runner:
    """Turns one image into a record.

    Without a detector the boxes are those of the ground truth, one per instance that the targets ask for.
    """

    pipeline: PosePipeline
    catalog: Catalog
    detector: Detector | None = None
    gt_box: GtBox = "full"
    box_error: float = 0.0  # of the boxes of the ground truth, see `disturbed`
    score_threshold: float = 0.05
    candidates: int = 2  # best detections that get a pose, per instance asked for
    debug_dir: Path | None = None  # where the methods' own pictures go, debug_dir/NAME/SCENE_IMAGE.jpg
    draw: Callable[[PipelineResult], dict[str, np.ndarray]] | None = None  # makes them
    node: AsNode | None = None  # does what the node does, and holds back nothing

    def __call__(self, dataset: BopDataset, image: BopImage, targets: Sequence[BopTarget]) -> ImageRecord:
        """Estimate the poses that the targets of an image ask for."""
        frame = dataset.frame(image)
        start = time.perf_counter()
        if self.detector is None:
            found: list[Detection] = []
            chosen = disturbed(truth_detections(image, targets, self.catalog, self.gt_box), self.box_error, image.key)
        else:
            found = self.detector.detect(frame, self.score_threshold)
            chosen = self._wanted(found, targets)
        detection_s = 0.0 if self.detector is None else time.perf_counter() - start
        result = self.pipeline.process(frame, chosen)
        elapsed = time.perf_counter() - start
        if self.debug_dir is not None and self.draw is not None:
            for name, drawing in self.draw(result).items():
                save_picture(self.debug_dir / name / f"{image.key[0]:06d}_{image.key[1]:06d}.jpg", drawing)
        return ImageRecord(
            *image.key,
            time_s=elapsed,
            estimates=self._estimates(image, result, elapsed),
            boxes=tuple(
                BoxDetection(image.key, self.catalog[item.object_index].object_id, float(item.score), item.box)
                for item in found
            ),
            timings_s=dict(result.timings_s) | {"detection": detection_s, "total": elapsed},
            reason=result.reason,
            candidates=() if self.node is None else self._estimates(image, self.node(frame), elapsed),
        )

    def _estimates(self, image: BopImage, result: PipelineResult, time_s: float) -> tuple[Estimate, ...]:
        return tuple(
            Estimate(
                *image.key,
                object_id=self.catalog[item.object_index].object_id,
                score=float(item.score),
                camera_from_object=np.asarray(item.camera_from_object, dtype=np.float64),
                time_s=time_s,
            )
            for item in result.poses
        )

    def _wanted(self, found: Sequence[Detection], targets: Sequence[BopTarget]) -> list[Detection]:
        chosen: list[Detection] = []
        for target in targets:
            index = self.catalog.index_of_id(target.object_id)
            mine = sorted((item for item in found if item.object_index == index), key=lambda item: -item.score)
            chosen += mine[: target.instances * self.candidates]
        return chosen


def truth_detections(
    image: BopImage, targets: Sequence[BopTarget], catalog: Catalog, gt_box: GtBox = "full"
) -> list[Detection]:
    """Return the ground-truth boxes, clipped to the image, of the instances that targets ask for.

    Instances less than 10 % visible and objects outside the catalog are left out.

    Raises:
        ValueError: if the data set has no boxes.
    """
    detections = []
    limits = np.array([image.camera.width - 1, image.camera.height - 1] * 2, dtype=np.float64)
    for index, truth in _seen(image, targets, catalog):
        box = truth.box_full if gt_box == "full" else truth.box_visible
        if box is None:
            raise ValueError(
                f"{image.rgb_path}: object {truth.object_id} has no {gt_box} box; "
                "expected scene_gt_info.json with bbox_obj and bbox_visib"
            )
        detections.append(Detection(index, 1.0, np.clip(box, 0.0, limits), is_tight=gt_box == "full"))
    return detections


def disturbed(detections: Sequence[Detection], error: float, seed: Sequence[int]) -> list[Detection]:
    """Shift and scale boxes at random, to see what backends make of a detector's errors.

    Args:
        detections: what has the boxes.
        error: largest shift of a box's middle, as a share of its sides, and largest change of the logarithm of a side;
            0 leaves boxes as they are.
        seed: same seed, same errors; those of one error are those of another, scaled.

    Returns:
        The detections with other boxes and without masks.
    """
    if error == 0.0:
        return list(detections)
    generator = np.random.default_rng(seed)
    out = []
    for item in detections:
        shift, log_scale = error * generator.uniform(-1.0, 1.0, (2, 2))
        middle, size = (item.box[:2] + item.box[2:]) / 2.0, item.box[2:] - item.box[:2]
        middle, half = middle + shift * size, size * np.exp(log_scale) / 2.0
        out.append(replace(item, box=np.concatenate([middle - half, middle + half]), mask=None))
    return out


def true_poses(image: BopImage, targets: Sequence[BopTarget], catalog: Catalog) -> list[np.ndarray]:
    """Return the poses (4, 4) of the instances that `truth_detections` returns, in the same order."""
    return [truth.camera_from_object for _, truth in _seen(image, targets, catalog)]


def _seen(image: BopImage, targets: Sequence[BopTarget], catalog: Catalog) -> Iterator[tuple[int, GroundTruth]]:
    """Yield the instances that targets ask for and that can be seen, with their places in the catalog."""
    for target in targets:
        index = catalog.index_of_id(target.object_id)
        for truth in target_instances(image, target):
            if index is not None and truth.visibility >= MIN_VISIBILITY:
                yield index, truth


def run_images(
    dataset: BopDataset,
    targets: Sequence[BopTarget],
    runner: Callable[[BopDataset, BopImage, Sequence[BopTarget]], ImageRecord],
    partial: Path | None = None,
    settings: dict[str, Any] | None = None,
    resume: bool = False,
    progress: Callable[[Iterable[BopImage]], Iterable[BopImage]] = iter,
) -> list[ImageRecord]:
    """Process every image and keep what is finished on the disk.

    Args:
        dataset: the images.
        targets: what to find.
        runner: turns an image into a record.
        partial: file for the finished images; None keeps nothing.
        settings: what the results depend on; a run resumes only under equal settings.
        resume: read `partial` and skip the images it holds.
        progress: wraps the loop over the remaining images, for instance tqdm.

    Raises:
        ValueError: if the file to resume from was made under other settings.
    """
    done = [_decode(entry) for entry in begin_partial(partial, settings or {}, resume)]
    finished = {(item.scene_id, item.image_id) for item in done}
    by_image: dict[tuple[int, int], list[BopTarget]] = {}
    for target in targets:
        by_image.setdefault((target.scene_id, target.image_id), []).append(target)
    for image in progress([image for image in dataset.images if image.key not in finished]):
        record = runner(dataset, image, by_image.get(image.key, []))
        done.append(record)
        append_partial(partial, _encode(record))
    return sorted(done, key=lambda item: (item.scene_id, item.image_id))


def _encode(record: ImageRecord) -> dict[str, Any]:
    content = asdict(record)
    for item in [*content["estimates"], *content["candidates"]]:
        item["camera_from_object"] = item["camera_from_object"].tolist()
    for item in content["boxes"]:
        item["box"] = [float(value) for value in item["box"]]
    return content


def _decode(content: dict[str, Any]) -> ImageRecord:
    estimates, candidates = (
        tuple(
            Estimate(**{**item, "camera_from_object": np.array(item["camera_from_object"])})
            for item in content.get(key, [])
        )
        for key in ("estimates", "candidates")
    )
    boxes = tuple(
        BoxDetection(tuple(item["image"]), item["object_id"], item["score"], np.array(item["box"]))
        for item in content["boxes"]
    )
    return ImageRecord(**{**content, "estimates": estimates, "boxes": boxes, "candidates": candidates})
