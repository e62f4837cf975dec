"""The page: the object in 3D, and the panel that edits its frames.

Everything happens in the event loop of the server, one thing after another.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from viser import ViserServer

from pose_estimation_ros.frame_editing.picking import MeshPicker, standing_on
from pose_estimation_ros.frame_editing.scene import FrameScene
from pose_estimation_ros.frame_editing.session import FrameSession
from pose_estimation_ros.objects.bundle_file import FrameEntry, readable_frame
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.viser_page import placed_at

NO_FRAME = "none yet"
_DIGITS = 1  # of millimetres and degrees in the panel
_MM = 1000.0
_SAVED = "Saved. A node that runs takes it up: `ros2 service call /pose_estimation/reload std_srvs/srv/Trigger`"

Numbers = tuple[float, float, float]


class FramesPage:
    """Edits the frames of one object at a time.

    Args:
        server: of the page.
        session: the frames.
        load: returns the mesh of an object, metres; it is called again and again.
        names: of the objects.
        first: name of the one that is shown first.

    Raises:
        ValueError: if its mesh cannot be used.
        OSError: if its mesh is not there.
    """

    def __init__(
        self, server: ViserServer, session: FrameSession, load: Callable[[str], Mesh], names: list[str], first: str
    ) -> None:
        self._session = session
        self._load = load
        self._pickers: dict[str, MeshPicker] = {}
        self._object = first
        self._frame: str | None = None
        self._drags = count()
        self._drag = next(self._drags)
        self._scene = FrameScene(server, self._on_click, self._on_drag)
        self._show_object(first)
        self._add_panel(server, names)
        self._choose(None)
        self._show()

    def _add_panel(self, server: ViserServer, names: list[str]) -> None:
        gui: Any = server.gui
        gui.set_panel_label("Frames")
        self._state = gui.add_markdown("")
        self._objects = gui.add_dropdown("object", names, initial_value=self._object, visible=len(names) > 1)
        self._chosen = gui.add_dropdown("frame", (NO_FRAME,), hint="on TF: object_0/frame")
        self._position = gui.add_vector3("x, y, z [mm]", (0.0, 0.0, 0.0), step=0.1**_DIGITS)
        self._angles = gui.add_vector3(
            "r, p, y [°]", (0.0, 0.0, 0.0), step=0.1**_DIGITS, hint="roll, pitch, yaw about the fixed axes of the mesh"
        )
        self._clicks = gui.add_checkbox(
            "a click on the mesh puts it there", True, hint="z along the surface's normal, x turned as little as needed"
        )
        self._name = gui.add_text("name", "", hint="letters, digits and underscores, of a new frame or the new name")
        self._objects.on_update(self._guarded(self._change_object))
        self._chosen.on_update(self._guarded(self._change_frame))
        self._position.on_update(self._guarded(self._change_numbers))
        self._angles.on_update(self._guarded(self._change_numbers))
        actions = {"Add": self._add, "Rename": self._rename, "Delete": self._delete, "Undo": self._undo}
        for label, action in {**actions, "Save": self._save, "Read the file again": self._read_again}.items():
            gui.add_button(label, color="teal" if label == "Save" else None).on_click(self._guarded(action))
        self._answer = gui.add_markdown("")

    def _guarded(self, action: Callable[[], str | None], put_gizmo: bool = True) -> Callable[[Any], Any]:
        """Return a callback that does something for a person, and says what came of it.

        Args:
            action: it returns what is to be said.
            put_gizmo: put the gizmo where the frame is then; not while it is dragged, which is ahead.
        """

        async def run(event: Any) -> None:
            if event.client is None:  # the page itself has set a value
                return
            try:
                said = action() or ""
            except (ValueError, OSError) as error:
                said = f"**Not done:** {error}"
            self._show(put_gizmo)
            self._answer.content = said

        return run

    def _entry(self) -> FrameEntry:
        """Return the chosen frame.

        Raises:
            ValueError: if there is none.
        """
        return self._session.frames(self._object)[self._needed()]

    def _needed(self) -> str:
        if self._frame is None:
            raise ValueError(f"{self._object} has no frame yet; expected a name, and Add")
        return self._frame

    def _choose(self, frame: str | None) -> None:
        """Edit a frame of the object, or its first one."""
        frames = self._session.frames(self._object)
        self._frame = frame if frame in frames else next(iter(frames), None)
        self._name.value = self._frame or ""

    def _change_object(self) -> None:
        name = str(self._objects.value)
        self._show_object(name)
        self._choose(None)

    def _show_object(self, name: str) -> None:
        mesh = self._load(name)
        self._scene.show_object(name, mesh)
        if name not in self._pickers:
            self._pickers[name] = MeshPicker(mesh)
        self._object = name

    def _change_frame(self) -> None:
        self._choose(str(self._chosen.value))

    def _change_numbers(self) -> None:
        """Take the numbers that a person has changed; the others keep the digits that are not shown."""
        exact, angles = _with_angles(self._entry())
        millimetres, degrees = _shown(exact)
        x, y, z = (
            round(new / _MM, 9) if new != old else kept
            for new, old, kept in zip(self._position.value, millimetres, exact.translation_m, strict=True)
        )
        roll, pitch, yaw = (
            new if new != old else kept for new, old, kept in zip(self._angles.value, degrees, angles, strict=True)
        )
        moved = FrameEntry(translation_m=(x, y, z), rpy_deg=(roll, pitch, yaw))
        if moved != exact:
            self._session.move(self._object, self._needed(), moved, gesture=("numbers", self._frame))

    def _add(self) -> str:
        name = self._name.value.strip()
        low, high = self._load(self._object).bounds
        top = np.eye(4)
        top[:3, 3] = (*(0.5 * (low + high))[:2], high[2])
        self._session.add(self._object, name, readable_frame(top))
        self._choose(name)
        return f"{name} stands on top of the box; click where it belongs, drag its arrows and arcs, or type numbers"

    def _rename(self) -> None:
        name = self._name.value.strip()
        self._session.rename(self._object, self._needed(), name)
        self._choose(name)

    def _delete(self) -> str:
        name = self._needed()
        self._session.delete(self._object, name)
        self._choose(None)
        return f"{name} is deleted; Undo brings it back"

    def _undo(self) -> str | None:
        name = self._session.undo()
        if name is None:
            return "Nothing to undo"
        if name != self._object:
            self._show_object(name)
        self._choose(self._frame)
        return None

    def _save(self) -> str:
        return _SAVED if self._session.save() else "Nothing to save"

    def _read_again(self) -> None:
        self._session.read_again(self._object)
        self._choose(self._frame)

    async def _on_click(self, event: Any) -> None:
        if self._clicks.value:
            await self._guarded(lambda: self._put_at(event.ray_origin, event.ray_direction))(event)

    def _put_at(self, origin: Numbers, direction: Numbers) -> None:
        entry = self._entry()
        found = self._pickers[self._object].pick(np.asarray(origin), np.asarray(direction))
        if found is not None:
            moved = standing_on(found, entry.matrix()[:3, :3])
            self._session.move(self._object, self._needed(), readable_frame(moved))

    async def _on_drag(self, event: Any) -> None:
        if self._frame is None or event.client is None:
            return
        if event.phase == "start":
            self._drag = next(self._drags)
        else:
            drag = self._guarded(lambda: self._drag_to(placed_at(event.target)), put_gizmo=event.phase == "end")
            await drag(event)

    def _drag_to(self, transform: np.ndarray) -> None:
        self._session.move(self._object, self._needed(), readable_frame(transform), gesture=("drag", self._drag))

    def _show(self, put_gizmo: bool = True) -> None:
        """Show what there is now."""
        frames = self._session.frames(self._object)
        transforms = {name: entry.matrix() for name, entry in frames.items()}
        unsaved = ", ".join(self._session.unsaved)
        told = f"**Not saved yet: {unsaved}**" if unsaved else "All is saved."
        self._state.content = f"`{self._session.folder}`\n\n{told}"
        self._objects.value = self._object
        self._chosen.options = tuple(frames) or (NO_FRAME,)
        self._chosen.value = self._frame or NO_FRAME
        for handle in (self._position, self._angles):
            handle.disabled = self._frame is None
        if self._frame is not None:
            self._position.value, self._angles.value = _shown(frames[self._frame])
        self._scene.show_frames(self._object, transforms)
        if put_gizmo:
            self._scene.put_gizmo(transforms.get(self._frame or ""))


def _with_angles(entry: FrameEntry) -> tuple[FrameEntry, Numbers]:
    """Return a frame as it is written, or in readable numbers where that is a quaternion, and its angles, degrees."""
    if entry.rpy_deg is None:
        entry = readable_frame(entry.matrix())
    assert entry.rpy_deg is not None
    return entry, entry.rpy_deg


def _shown(entry: FrameEntry) -> tuple[Numbers, Numbers]:
    """Return position in millimetres and roll, pitch, yaw in degrees, as the panel has them."""
    exact, angles = _with_angles(entry)
    x, y, z = (round(_MM * value, _DIGITS) for value in exact.translation_m)
    roll, pitch, yaw = (round(value, _DIGITS) for value in angles)
    return (x, y, z), (roll, pitch, yaw)
