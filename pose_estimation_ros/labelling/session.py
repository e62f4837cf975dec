"""What a person does with photographs: look, move, refine, accept. The page and its server stand on this."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

import cv2
import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.pnp import MIN_POINTS, solve_pnp
from pose_estimation_ros.labelling.dataset import LabelledDataset
from pose_estimation_ros.labelling.edge_check import reduction
from pose_estimation_ros.labelling.labeller import Labeller
from pose_estimation_ros.labelling.labels import Label, LabelBook, Verdict
from pose_estimation_ros.labelling.object_views import ObjectViews
from pose_estimation_ros.labelling.photos import Photo

_CLICK_PX = 12.0  # farthest that a clicked point is off, pixels of a 640 pixels wide image
_JPEG_QUALITY = 92


class UnknownError(LookupError):
    """There is no such photograph or object."""


class LabelSession:
    """The photographs and their labels as a page shows and changes them.

    Everything that comes and goes is what JSON holds. An object of a photograph is
    `{"object": name, "pose": 4 x 4 numbers, "verdict": ...}` and, where it was checked, its figures.

    Args:
        photos: the photographs.
        labeller: makes and checks poses.
        views: pictures of the objects.
        book: keeps the labels.
        dataset: what accepted labels become.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        labeller: Labeller,
        views: ObjectViews,
        book: LabelBook,
        dataset: LabelledDataset,
    ) -> None:
        self._photos, self._labeller, self._views = list(photos), labeller, views
        self._book, self._dataset = book, dataset
        self._lock = threading.Lock()  # one computation at a time
        self._last: tuple[tuple, list[Label]] | None = None  # what was checked last, and its labels
        self._frame = lru_cache(maxsize=4)(lambda number: self._photo(number).frame())
        self._picture = lru_cache(maxsize=4)(self._encoded)

    def overview(self) -> dict[str, Any]:
        """Return what there is to label, and how far that is."""
        photos = [
            {
                "key": photo.key,
                "file": photo.path.name,
                "verdicts": [label.verdict for label in self._book.of(photo.key)],
            }
            for photo in self._photos
        ]
        objects = [
            {"name": model.name, "centre": model.centre_m.tolist(), "diameter": model.diameter_m}
            for model in self._labeller.catalog
        ]
        return {"photos": photos, "objects": objects}

    def photo(self, number: int) -> dict[str, Any]:
        """Return a photograph with its objects, and where their poses come from.

        `origin`: "labels" of this data set, "given" with the photograph, "previous": accepted in the photograph before,
        as of a video, or "none".
        """
        photo, camera = self._photo(number), self._frame_of(number).camera
        before = self._book.of(self._photos[number - 1].key) if number else ()
        accepted = [label for label in before if label.verdict == "accept"]
        known = self._labeller.known(photo)
        if photo.key in self._book:
            origin, objects = "labels", [_row(label) for label in self._book.of(photo.key)]
        elif known:
            origin, objects = "given", [self._unchecked(*item) for item in known]
        elif accepted:
            unsure = [Label(item.object_name, item.camera_from_object, "doubt") for item in accepted]
            origin, objects = "previous", [_row(label) for label in unsure]
        else:
            origin, objects = "none", []
        size = {"width": camera.width, "height": camera.height, "intrinsics": camera.intrinsics.tolist()}
        return {"origin": origin, "objects": objects, **size}

    def picture(self, number: int) -> bytes:
        """Return a photograph without distortion, JPEG."""
        self._photo(number)
        return self._picture(number)

    def mesh(self, name: str) -> dict[str, Any]:
        """Return the mesh that is drawn of an object."""
        with self._lock:
            return self._views.outline(self._index(name))

    def view(self, name: str, azimuth_deg: float, elevation_deg: float) -> bytes:
        """Return an object from a side, PNG."""
        with self._lock:
            picture = self._views.picture(self._index(name), azimuth_deg, elevation_deg)
        return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()

    def check(self, number: int, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the objects of a photograph with their figures; verdicts stay."""
        return [_row(label) for label in self._checked(number, objects)]

    def refine(self, number: int, objects: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the objects of a photograph, some of them with better poses, all with their figures."""
        found = [dict(item) for item in objects]
        chosen = [found[row] for row in rows if 0 <= row < len(found)]
        frame, start = self._frame_of(number), [self._object(item) for item in chosen]
        with self._lock:
            better = self._labeller.refined(frame, start)
        for item, (_, pose) in zip(chosen, better, strict=True):
            item |= {"pose": pose.tolist(), "verdict": "doubt"}
        return self.check(number, found)

    def find(self, number: int) -> list[dict[str, Any]]:
        """Return what the networks find in a photograph, refined and checked."""
        frame = self._frame_of(number)
        with self._lock:
            found = [self._unchecked(*item) for item in self._labeller.refined(frame, self._labeller.find(frame))]
        return self.check(number, found)

    def pose_from_points(self, number: int, name: str, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return an object at the pose that pairs of points say.

        Args:
            number: of the photograph.
            name: of the object.
            pairs: `{"view": [azimuth, elevation, x, y], "photo": [x, y]}` each, degrees and pixels.

        Raises:
            ValueError: if there are fewer than four pairs, or no pose fits them.
        """
        if len(pairs) < MIN_POINTS:
            raise ValueError(f"{len(pairs)} pairs of points: expected at least {MIN_POINTS}")
        index, camera = self._index(name), self._frame_of(number).camera
        with self._lock:
            points = np.stack([self._views.point(index, *_numbers(pair["view"], 4)) for pair in pairs])
        pixels = np.stack([_numbers(pair["photo"], 2) for pair in pairs])
        found = solve_pnp(pixels, points, camera.intrinsics, threshold_px=_CLICK_PX * reduction(camera))
        if found is None or found.inliers.sum() < len(pairs) / 2.0:
            raise ValueError(f"{len(pairs)} pairs of points: no pose fits them; expected the same points in both")
        return self._unchecked(index, found.camera_from_object) | {"points_px": found.reprojection_px}

    def save(self, number: int, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Keep the objects of a photograph as labels, write those that are accepted, and return them."""
        photo, labels = self._photo(number), self._checked(number, objects)
        before = {_identity(label): label for label in self._book.of(photo.key)}
        # What stands as it stood is no word of a person.
        judged = [label if label.verdict == "doubt" else label.judged(label.verdict) for label in labels]
        kept = [before.get(_identity(label), label) for label in judged]
        frame = self._frame_of(number)
        with self._lock:
            self._dataset.write(photo, frame, kept)
            self._book.put(photo.key, photo.path.name, kept)
        return [_row(label) for label in kept]

    def _checked(self, number: int, objects: Sequence[Mapping[str, Any]]) -> list[Label]:
        """Return labels with the verdicts of objects and figures of their poses."""
        verdicts = [_verdict(item) for item in objects]
        frame, parsed = self._frame_of(number), [self._object(item) for item in objects]
        asked = (number, *((index, pose.tobytes()) for index, pose in parsed))
        with self._lock:
            if self._last is None or self._last[0] != asked:
                self._last = asked, self._labeller.labels(frame, parsed)
            labels = self._last[1]
        return [replace(label, verdict=verdict) for label, verdict in zip(labels, verdicts, strict=True)]

    def _unchecked(self, index: int, pose: np.ndarray) -> dict[str, Any]:
        return _row(Label(self._labeller.catalog[index].name, pose, "doubt"))

    def _object(self, item: Mapping[str, Any]) -> tuple[int, np.ndarray]:
        pose = np.reshape(_numbers(np.ravel(item["pose"]), 16), (4, 4))
        rotation = pose[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0 or pose[2, 3] <= 0.0:
            raise ValueError(f"pose of {item['object']}: expected a rotation, and a place before the camera")
        return self._index(item["object"]), pose

    def _index(self, name: str) -> int:
        index = self._labeller.catalog.index_of_name(name)
        if index is None:
            raise UnknownError(f"object {name!r}: expected one of {', '.join(m.name for m in self._labeller.catalog)}")
        return index

    def _photo(self, number: int) -> Photo:
        if not 0 <= number < len(self._photos):
            raise UnknownError(f"photograph {number}: expected 0 to {len(self._photos) - 1}")
        return self._photos[number]

    def _frame_of(self, number: int) -> Frame:
        self._photo(number)
        return self._frame(number)

    def _encoded(self, number: int) -> bytes:
        pixels = self._frame_of(number).rgb[..., ::-1]
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _numbers(values: Any, count: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{values!r}: expected {count} finite numbers")
    return numbers


def _verdict(item: Mapping[str, Any]) -> Verdict:
    if item["verdict"] not in get_args(Verdict):
        raise ValueError(f"verdict {item['verdict']!r}: expected one of {', '.join(get_args(Verdict))}")
    return item["verdict"]


def _identity(label: Label) -> tuple[str, str, tuple[float, ...]]:
    return label.object_name, label.verdict, tuple(np.round(label.camera_from_object, 9).reshape(-1).tolist())


def _row(label: Label) -> dict[str, Any]:
    return {
        "object": label.object_name,
        "pose": label.camera_from_object.tolist(),
        "verdict": label.verdict,
        "residual_px": label.residual_px,
        "probability": label.probability,
    }
