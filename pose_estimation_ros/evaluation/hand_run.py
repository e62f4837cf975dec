"""Find the hand in every depth image of a data set; interrupted runs go on, and images without a found hand count."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pose_estimation_ros.data.nyu_hand import CAMERA, DECIMALS, uvd_from_points
from pose_estimation_ros.data.nyu_images import read_depth
from pose_estimation_ros.evaluation.partial import append_partial, begin_partial
from pose_estimation_ros.geometry.camera import Camera


class Finder(Protocol):
    """What a method of the kind `hands` loads."""

    def find(self, depth: np.ndarray, camera: Camera) -> Any:
        """Return `hands`, each with `joints` (14, 3) in metres, and the `reason` where there are none."""
        ...


@dataclass(frozen=True)
class HandRecord:
    """What was found in one image."""

    uvd: list[list[float]] | None  # of 14 joints, rounded as result files are; None: no hand
    reason: str | None = None  # why there is none


def find_hands(
    paths: Sequence[Path],
    finders: Sequence[Finder],
    partial: Path | None = None,
    settings: dict[str, Any] | None = None,
    resume: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[HandRecord]:
    """Look for a hand in every image, and keep what is finished on the disk.

    Args:
        paths: depth images in the order of the frames.
        finders: of every image, what looks for the hand.
        partial: file for the finished images; None keeps nothing.
        settings: what the results depend on; a run resumes only under equal settings.
        resume: read `partial` and skip the images it holds.
        progress: wraps the loop over the numbers of the remaining images, for instance tqdm.

    Returns:
        A record of every image.

    Raises:
        ValueError: if an image cannot be used, or the file to resume from was made under other settings.
    """
    done = [HandRecord(**entry) for entry in begin_partial(partial, settings or {}, resume)]
    for frame in progress(range(len(done), len(paths))):
        record = _record(finders[frame].find(read_depth(paths[frame]), CAMERA))
        done.append(record)
        append_partial(partial, asdict(record))
    return done


def _record(result: Any) -> HandRecord:
    if not result.hands:
        return HandRecord(None, result.reason)
    joints = result.hands[0].joints
    if not (joints[:, 2] > 0.0).all():
        return HandRecord(None, "joints behind the camera")
    uvd = uvd_from_points(joints).tolist()
    return HandRecord([[round(value, DECIMALS) for value in joint] for joint in uvd])


def counted_joints(records: Sequence[HandRecord]) -> np.ndarray:
    """Return the joints that are measured, pixels and millimetres, shape (N, 14, 3).

    An image without a found hand has those of the last one before it that had one, as who uses joints would hold on to
    them; images before the first hand have that one's.

    Raises:
        ValueError: if no image has a hand.
    """
    found = [frame for frame, record in enumerate(records) if record.uvd is not None]
    if not found:
        raise ValueError(f"no hand found in any of {len(records)} images ({describe_misses(records)})")
    held = (found[max(bisect_right(found, frame) - 1, 0)] for frame in range(len(records)))
    return np.array([records[frame].uvd for frame in held])


def count_misses(records: Sequence[HandRecord]) -> int:
    """Return the number of images without a found hand."""
    return sum(record.uvd is None for record in records)


def describe_misses(records: Sequence[HandRecord]) -> str:
    """Say why images have no hand, the most frequent reason first."""
    reasons = Counter(record.reason for record in records if record.uvd is None)
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
