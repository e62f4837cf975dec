"""What a pipeline without tracking finds in images, kept in a file so that trackers can be compared in seconds."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.pipeline import Pipeline

Found = tuple[list[PoseHypothesis], list[Detection]]  # of one image, as a tracker takes it
_KEPT_EVERY = 20  # images
UNTRACKED = {"tracking.enabled": False, "pose.score_threshold": 0.0}  # a tracker weighs the unsure ones, too


def add_estimates_option(parser: argparse.ArgumentParser) -> None:
    """Add `--estimates`."""
    parser.add_argument(
        "--estimates",
        type=Path,
        metavar="FILE",
        help="keep what the networks find in this .npz file, and do not run them again on images that it holds",
    )


def estimates(pipeline: Pipeline, frames: Iterable[Frame], count: int, path: Path | None, images: str) -> list[Found]:
    """Return what a pipeline finds in images, from a file where they were seen before.

    The file says of which images, networks and settings it is; code that was changed since is not noticed.

    Args:
        pipeline: one that does not track.
        frames: the images.
        count: how many they are.
        path: the file; what it lacks is added. None for none.
        images: says which images they are.

    Raises:
        SystemExit: if the file holds the estimates of something else, or is none.
    """
    source = f"{images}, {_described(pipeline)}"
    found = _read(path, source) if path is not None and path.exists() else []
    if len(found) >= count:
        return found[:count]
    rest = tqdm(islice(frames, len(found), count), total=count, initial=len(found), unit="image", disable=None)
    for frame in rest:
        found.append(_estimated(pipeline, frame))
        if path is not None and (len(found) % _KEPT_EVERY == 0 or len(found) == count):
            _write(path, source, found)
    return found


def _described(pipeline: Pipeline) -> str:
    """Return a checksum of all that a pipeline loaded and was told, but for tracking."""
    networks = {role: entry.sha256 for role, entry in sorted(pipeline.bundle.networks.items())}
    scores = [score.model_dump(mode="json") for score in pipeline.bundle.scores]
    settings = {name: value for name, value in pipeline.settings.values().items() if not name.startswith("tracking.")}
    refiner = None if pipeline.refiner_method is None else pipeline.refiner_method.name
    told = json.dumps([networks, scores, settings, refiner], sort_keys=True)
    return f"{pipeline.bundle.path.name} {hashlib.sha256(told.encode()).hexdigest()[:16]}"


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
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        source_there = str(kept["source"])
    except (ValueError, OSError, AttributeError, KeyError, BadZipFile) as error:
        raise SystemExit(f"{path}: no file of estimates; name another one ({error})") from error
    if source_there != source:
        raise SystemExit(f"{path}: estimates of {source_there}, expected {source}; remove it or name another file")
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
