"""Frames while they are edited: what is there, what was before, and what is not saved yet."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pose_estimation_ros.objects.bundle_file import FrameEntry, require_frame_name
from pose_estimation_ros.objects.bundle_frames import Frames, read_frames, save_frames
from pose_estimation_ros.objects.catalog import ObjectFrame
from pose_estimation_ros.objects.limits import MAX_FRAMES


@dataclass(frozen=True)
class _Step:
    """What undoing leads back to."""

    object_name: str  # that was changed then
    frames: Mapping[str, Frames]


class FrameSession:
    """Edits the frames of a bundle's objects. Nothing is written before `save`.

    Args:
        folder: of the bundle.

    Raises:
        BundleError: naming what is wrong in bundle.yaml.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved: Mapping[str, Frames] = read_frames(folder)
        self._frames: Mapping[str, Frames] = self._saved
        self._steps: list[_Step] = []
        self._gesture: Hashable = None

    @property
    def unsaved(self) -> list[str]:
        """Names of the objects whose frames are other ones than those of the file."""
        return [name for name, frames in self._frames.items() if frames != self._saved.get(name)]

    def frames(self, object_name: str) -> Frames:
        """Return the frames of an object by their names."""
        return self._frames[object_name]

    def add(self, object_name: str, frame: str, entry: FrameEntry) -> None:
        """Add a frame.

        Raises:
            ValueError: if its name is none or taken, the frame is far away, or the object has as many as it may have.
        """
        frames = self._frames[object_name]
        self._refuse_name(object_name, frame)
        if len(frames) >= MAX_FRAMES:
            raise ValueError(f"{object_name} has {len(frames)} frames: expected at most {MAX_FRAMES}")
        self._change(object_name, {**frames, frame: _checked(frame, entry)})

    def move(self, object_name: str, frame: str, entry: FrameEntry, gesture: Hashable = None) -> None:
        """Put a frame elsewhere.

        Args:
            object_name: whose frame it is.
            frame: its name.
            entry: where it is to be.
            gesture: moves in a row with the same one, such as those of a drag, are undone together.

        Raises:
            ValueError: if that is far away.
        """
        entry = _checked(frame, entry)
        if self._frames[object_name][frame] == entry:
            return
        goes_on = gesture is not None and gesture == self._gesture
        frames: Frames = {**self._frames[object_name], frame: entry}
        if goes_on:
            self._frames = {**self._frames, object_name: frames}
        else:
            self._change(object_name, frames)
        self._gesture = gesture

    def rename(self, object_name: str, frame: str, name: str) -> None:
        """Call a frame otherwise; it keeps its place among the others.

        Raises:
            ValueError: if the name is none or taken.
        """
        self._refuse_name(object_name, name)
        frames = self._frames[object_name].items()
        self._change(object_name, {name if old == frame else old: entry for old, entry in frames})

    def delete(self, object_name: str, frame: str) -> None:
        """Remove a frame."""
        frames = self._frames[object_name].items()
        self._change(object_name, {name: entry for name, entry in frames if name != frame})

    def undo(self) -> str | None:
        """Take the last change back; return the object that it was about, None where there is none."""
        if not self._steps:
            return None
        step = self._steps.pop()
        self._frames, self._gesture = step.frames, None
        return step.object_name

    def save(self) -> list[str]:
        """Write the frames into bundle.yaml; return the names of the objects whose frames are others now.

        Raises:
            ValueError: if somebody else changed the same frames in the file, or the file is damaged.
            OSError: if it cannot be written.
        """
        changed = self.unsaved
        now = read_frames(self.folder)
        for name in changed:
            if now.get(name) != self._saved.get(name):
                raise ValueError(
                    f"the frames of {name} were changed in the file meanwhile; read it again, then undo to have yours"
                )
        save_frames(self.folder, {name: self._frames[name] for name in changed})
        self._saved = {name: self._frames[name] if name in changed else item for name, item in self._saved.items()}
        self._gesture = None
        return changed

    def read_again(self, object_name: str) -> None:
        """Take what the file says of all objects, as a change that can be undone.

        Raises:
            ValueError: if the file is damaged, or has other objects now.
        """
        now = read_frames(self.folder)
        if now.keys() != self._saved.keys():
            raise ValueError("the bundle has other objects now; start anew")
        before = self._saved

        def followed(frames: Mapping[str, Frames]) -> Mapping[str, Frames]:
            """Return frames in which objects that were as in the file are as they are there now."""
            return {name: now[name] if item == before[name] else item for name, item in frames.items()}

        self._steps = [replace(step, frames=followed(step.frames)) for step in self._steps]
        mine, self._saved = followed(self._frames), now
        if mine != now:
            self._steps.append(_Step(object_name, mine))
        self._frames, self._gesture = now, None

    def _change(self, object_name: str, frames: Frames) -> None:
        self._steps.append(_Step(object_name, self._frames))
        self._frames, self._gesture = {**self._frames, object_name: frames}, None

    def _refuse_name(self, object_name: str, frame: str) -> None:
        require_frame_name(frame)
        if frame in self._frames[object_name]:
            raise ValueError(f"frame {frame!r}: {object_name} has one of this name")


def _checked(frame: str, entry: FrameEntry) -> FrameEntry:
    """Return an entry that the bundle takes.

    Raises:
        ValueError: if it is far away.
    """
    ObjectFrame(frame, entry.matrix())
    return entry
