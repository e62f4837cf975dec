"""What a pipeline without tracking finds in images, kept in a file so that trackers can be compared in seconds."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.pipeline import Pipeline

Found = tuple[list[PoseHypothesis], list[Detection]]  # of one image, as a tracker takes it
_KEPT_EVERY = 20  # images


def add_estimates_option(parser: argparse.ArgumentParser) -> None:
    """Add `--estimates`."""
    parser.add_argument(
        "--estimates",
        type=Path,
        metavar="FILE",
        help="keep what the networks find in this .npz file, and do not run them again on images that it holds",
    )


def estimates(pipeline: Pipeline, frames: Iterable[Frame], count: int, path: Path | None, source: str) -> list[Found]:
    """Return what a pipeline finds in images, from a file where they were seen before.

    Args:
        pipeline: one that does not track.
        frames: the images.
        count: how many they are.
        path: the file; what it lacks is added. None for none.
        source: what the estimates depend on, written into the file.

    Raises:
        SystemExit: if the file holds the estimates of something else.
    """
    found = _read(path, source) if path is not None and path.exists() else []
    if len(found) >= count:
        return found[:count]
    rest = tqdm(islice(frames, len(found), count), total=count, initial=len(found), unit="image", disable=None)
    for frame in rest:
        found.append(_estimated(pipeline, frame))
        if path is not None and (len(found) % _KEPT_EVERY == 0 or len(found) == count):
            _write(path, source, found)
    return found


def _estimated(pipeline: Pipeline, frame: Frame) -> Found:
    poses = pipeline.process(frame).poses
    detections = [Detection(item.object_index, item.score, item.box) for item in poses]
    hypotheses = [
        PoseHypothesis(item.object_index, row, item.camera_from_object, item.score, covariance=item.covariance)
        for row, item in enumerate(poses)
    ]
    return hypotheses, detections


def _write(path: Path, source: str, found: list[Found]) -> None:
    everything = [(item, boxes[item.detection_index].box) for items, boxes in found for item in items]
    unknown = np.full((6, 6), np.nan)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            source=np.array(source),
            count=np.array([len(items) for items, _ in found]),
            object_index=np.array([item.object_index for item, _ in everything], dtype=np.int64),
            score=np.array([item.score for item, _ in everything]),
            pose=np.array([item.camera_from_object for item, _ in everything]).reshape(-1, 4, 4),
            covariance=np.array(
                [unknown if item.covariance is None else item.covariance for item, _ in everything]
            ).reshape(-1, 6, 6),
            box=np.array([box for _, box in everything]).reshape(-1, 4),
        )
    temporary.replace(path)


def _read(path: Path, source: str) -> list[Found]:
    with np.load(path, allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    if str(kept["source"]) != source:
        raise SystemExit(f"{path}: estimates of {kept['source']}, expected {source}; remove it or name another file")
    found: list[Found] = []
    end = np.cumsum(kept["count"])
    for first, last in zip(end - kept["count"], end, strict=True):
        rows = range(int(first), int(last))
        detections = [Detection(int(kept["object_index"][n]), float(kept["score"][n]), kept["box"][n]) for n in rows]
        hypotheses = [
            PoseHypothesis(
                item.object_index,
                row,
                kept["pose"][n],
                item.score,
                covariance=None if np.isnan(kept["covariance"][n]).any() else kept["covariance"][n],
            )
            for row, (n, item) in enumerate(zip(rows, detections, strict=True))
        ]
        found.append((hypotheses, detections))
    return found
