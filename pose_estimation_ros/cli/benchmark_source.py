"""Images that pose_benchmark runs on, with boxes that stand for their objects."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog

SEQUENCE = "sequence"  # folder of a bundle's own images, BOP layout


@dataclass(frozen=True)
class Sample:
    """A frame and the boxes that stand for its objects."""

    frame: Frame
    boxes: list[Detection]
    poses: list[np.ndarray] = field(default_factory=list)  # true ones, (4, 4) each, of the boxes; none where unknown


def open_source(arguments: argparse.Namespace, bundle: Bundle) -> tuple[str, list[Sample]]:
    """Return the name of the source of images and the samples, at most as many as frames are asked for.

    Raises:
        ValueError: if the image cannot be read, or no image shows an object of the bundle.
        FileNotFoundError: if the data set is not there.
    """
    if arguments.image is not None:
        return str(arguments.image), [_image(arguments.image, bundle.catalog)]
    own = bundle.path / SEQUENCE
    root = arguments.bop if arguments.bop is not None else own if own.is_dir() else None
    if root is None:
        return "noise", [_noise(bundle.catalog)]
    samples = list(islice(_data_set(BopDataset(root, arguments.split), bundle.catalog), arguments.frames))
    if not samples:
        raise ValueError(f"{root}: no image of split {arguments.split!r} shows an object of bundle {bundle.name!r}")
    return str(root), samples


def _data_set(dataset: BopDataset, catalog: Catalog) -> Iterator[Sample]:
    from pose_estimation_ros.evaluation.run import true_poses, truth_detections

    for image in dataset.images:
        targets = targets_from([image])
        boxes = truth_detections(image, targets, catalog)
        if boxes:
            yield Sample(dataset.frame(image), boxes, true_poses(image, targets, catalog))


def _image(path: Path, catalog: Catalog) -> Sample:
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    return _with_grid(np.ascontiguousarray(pixels[..., ::-1]), catalog)


def _noise(catalog: Catalog, width: int = 640, height: int = 480) -> Sample:
    return _with_grid(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), catalog)


def _with_grid(rgb: np.ndarray, catalog: Catalog) -> Sample:
    """Lay one box per object over the image, in rows and columns."""
    height, width = rgb.shape[:2]
    intrinsics = np.array([[width, 0.0, width / 2.0], [0.0, width, height / 2.0], [0.0, 0.0, 1.0]])
    columns = int(np.ceil(np.sqrt(len(catalog) * width / height)))
    rows = int(np.ceil(len(catalog) / columns))
    cell = np.array([width / columns, height / rows])
    boxes = []
    for index in range(len(catalog)):
        corner = cell * (index % columns, index // columns)
        boxes.append(Detection(index, 1.0, np.concatenate([corner + 0.15 * cell, corner + 0.85 * cell])))
    return Sample(Frame(rgb, Camera(intrinsics, width, height)), boxes)


def beside(box: np.ndarray) -> np.ndarray:
    """Return a box (4,) moved by a fifth of its width."""
    return box + 0.2 * (box[2] - box[0]) * np.array([1.0, 0.0, 1.0, 0.0])


def with_boxes(sample: Sample, count: int) -> Sample:
    """Return a sample with so many boxes: the first ones, or all of them and others a little beside."""
    boxes = [
        item if number < len(sample.boxes) else replace(item, box=beside(item.box))
        for number, item in enumerate(islice(cycle(sample.boxes), count))
    ]
    return replace(sample, boxes=boxes, poses=sample.poses[:count])
