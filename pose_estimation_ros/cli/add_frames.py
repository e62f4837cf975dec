"""The frames that pose_add puts on objects, from its command line."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pose_estimation_ros.objects.bundle_file import FrameEntry, require_frame_name
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame, ObjectModel

FORM = "OBJECT/NAME=X,Y,Z[,ROLL,PITCH,YAW]"

ToldFrames = Mapping[str, Mapping[str, ObjectFrame]]  # by object and name


def told_frames(texts: Sequence[str], objects: Collection[str]) -> ToldFrames:
    """Read frames as `--frame` has them: metres in the frame of the mesh, degrees about its fixed axes.

    Args:
        texts: one of them each.
        objects: names of those that are there or are to be added.

    Raises:
        ValueError: if one is not of that form, far away, there twice, or for nobody.
    """
    found: dict[str, dict[str, ObjectFrame]] = {}
    for text in texts:
        where, _, said = text.partition("=")
        object_name, _, name = where.partition("/")
        numbers = _numbers(said)
        if len(numbers) not in (3, 6) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"--frame {text}: expected {FORM}, metres and degrees")
        if object_name not in objects:
            known = ", ".join(objects) or "none, as no mesh is given"
            raise ValueError(f"--frame {text}: no object {object_name!r}; expected one of {known}")
        if name in found.get(object_name, {}):
            raise ValueError(f"--frame {text}: {where} is there twice")
        entry = FrameEntry(translation_m=numbers[:3], rpy_deg=numbers[3:] or None)
        try:
            frame = ObjectFrame(require_frame_name(name), entry.matrix())
        except ValueError as error:
            raise ValueError(f"--frame {text}: {error}") from error
        found.setdefault(object_name, {})[name] = frame
    return found


def _numbers(text: str) -> tuple:
    """Return numbers with commas between, or nothing where they are none."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        return ()


def with_frames(model: ObjectModel, told: ToldFrames) -> ObjectModel:
    """Return an object with further frames; those of a name that it has already take the place of the earlier ones."""
    frames = {frame.name: frame for frame in model.frames} | dict(told.get(model.name, {}))
    return replace(model, frames=tuple(frames.values()))


def frame_words(catalog: Catalog, told: ToldFrames) -> list[str]:
    """Say where the frames are, and which are so far away that they may be in another unit."""
    lines = []
    for model in catalog:
        for frame in told.get(model.name, {}).values():
            place = frame.object_from_frame[:3, 3]
            low, high = np.asarray(model.bounds_m)
            outside = float(np.linalg.norm(np.maximum(np.maximum(low - place, place - high), 0.0)))
            at = ", ".join(f"{1000.0 * value:.1f}" for value in place)
            lines.append(f"{model.name}: frame {frame.name} at {at} mm")
            if outside > model.diameter_m:
                lines.append(f"  that is {1000.0 * outside:.0f} mm outside its box; --frame takes metres")
    return lines
