"""Labels of photographs, and the file that keeps them: `labels.json`, the report and what a later run goes on from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

Verdict = Literal["accept", "doubt", "reject"]
LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class Label:
    """One object at its pose in one photograph."""

    object_name: str
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    verdict: Verdict
    residual_px: float | None = None  # of its edges, see `EdgeCheck`; None where too few of them are seen
    matched: float = 0.0  # share of its visible edges that lie on edges of the photograph
    similarity: float | None = None  # of rendering and photograph, as the refiner sees it
    probability: float = 0.0  # that the pose is right, see `JudgeSettings`
    by_hand: bool = False  # a person said so

    def judged(self, verdict: Verdict) -> Label:
        """Return the label as a person judged it."""
        return replace(self, verdict=verdict, by_hand=True)


class LabelBook:
    """The labels of all photographs; every change is on the disk at once.

    Args:
        folder: of the data set that is made; made where absent.
        origin: what the labels come from, such as bundle and photographs; a file of another origin is not gone on with.

    Raises:
        ValueError: if there is a file that is damaged or of another origin.
    """

    def __init__(self, folder: Path, origin: dict[str, Any]) -> None:
        self.path = folder / LABELS_FILE
        self._origin = origin
        self._photos: dict[str, tuple[str, tuple[Label, ...]]] = {}
        if self.path.is_file():
            self._read()
        elif folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"--out {folder}: not empty, and no {LABELS_FILE} in it; expected a new folder")

    def __contains__(self, key: str) -> bool:
        return key in self._photos

    def of(self, key: str) -> tuple[Label, ...]:
        """Return the labels of a photograph, none where it has not been looked at."""
        return self._photos[key][1] if key in self._photos else ()

    def put(self, key: str, file: str, labels: Sequence[Label]) -> None:
        """Replace the labels of a photograph, and save."""
        self._photos[key] = file, tuple(labels)
        photos = {name: _encoded(*item) for name, item in sorted(self._photos.items())}
        content = {"origin": self._origin, "photos": photos}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(self.path.name + ".part")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(self.path)

    def check(self, key: str, file: str) -> None:
        """Refuse a photograph whose place another one had before.

        Raises:
            ValueError: naming both.
        """
        if key in self._photos and self._photos[key][0] != file:
            raise ValueError(
                f"{self.path}: photograph {key} was {self._photos[key][0]} and is {file} now; expected the photographs "
                "as they were, with new names behind the old ones, or a new --out"
            )

    def counts(self) -> Counter[str]:
        """Return how many labels have which verdict."""
        return Counter(label.verdict for _, labels in self._photos.values() for label in labels)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text())
            origin = dict(content["origin"])
            self._photos = {
                key: (item["file"], tuple(_decoded(label) for label in item["labels"]))
                for key, item in content["photos"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path}: not a file of labels: {error!r}; expected a new --out") from error
        for name in sorted({*origin, *self._origin}):
            if origin.get(name) != self._origin.get(name):
                raise ValueError(
                    f"{self.path}: made with {name} = {origin.get(name)!r}, now {self._origin.get(name)!r}; "
                    "expected the same, or a new --out"
                )


def _encoded(file: str, labels: Sequence[Label]) -> dict[str, Any]:
    rows = [
        {
            "object": label.object_name,
            "verdict": label.verdict,
            "by_hand": label.by_hand,
            "probability": round(label.probability, 4),
            "residual_px": None if label.residual_px is None else round(label.residual_px, 3),
            "matched": round(label.matched, 3),
            "similarity": None if label.similarity is None else round(label.similarity, 4),
            "camera_from_object": label.camera_from_object.tolist(),
        }
        for label in labels
    ]
    return {"file": file, "labels": rows}


def _decoded(row: dict[str, Any]) -> Label:
    pose = np.array(row["camera_from_object"], dtype=np.float64)
    if pose.shape != (4, 4) or row["verdict"] not in get_args(Verdict):
        raise ValueError(f"object {row['object']}: expected a pose of 4 x 4 numbers and a verdict")
    names = ("verdict", "residual_px", "matched", "similarity", "probability", "by_hand")
    return Label(row["object"], pose, *(row[name] for name in names))
