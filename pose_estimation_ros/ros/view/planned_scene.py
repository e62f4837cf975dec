"""The planner's collision objects on the page: translucent, with their subframes."""

from __future__ import annotations

import logging
import threading
from itertools import count
from typing import Any

import numpy as np
from viser import ViserServer

from pose_estimation_ros.rendering.viser_page import place
from pose_estimation_ros.ros.view.planned_objects import PlannedObject, PlannedObjects

_log = logging.getLogger(__name__)
_COLOR = (220, 0, 170)
_OPACITY = 0.5
_AXES = 0.35  # of a subframe, in diagonals of its object's box


class PlannedScene:
    """Draws what is in the frame of the camera; of other frames the page does not know where they are.

    Args:
        server: of the page.
    """

    def __init__(self, server: ViserServer) -> None:
        self._server = server
        self._objects = PlannedObjects()
        self._drawn: dict[str, tuple[PlannedObject, Any]] = {}  # what of it is drawn, and its node, by id
        self._numbers = count()  # what is made anew under an old name may be shown at the origin
        self._camera_frame = ""
        self._lock = threading.RLock()  # the box is ticked in a thread of viser
        with server.gui.add_folder("Planning scene"):
            self._box = server.gui.add_checkbox("show", True)
            self._told = server.gui.add_markdown("Nothing was heard yet.")
        self._box.on_update(lambda _: self._show())

    def take(self, scene: Any) -> None:
        """Follow a moveit_msgs/PlanningScene."""
        with self._lock:
            try:
                self._objects.take(scene)
            except ValueError as error:
                _log.warning("not in the planning scene of the page: %s", error)
            self._show()

    def set_camera_frame(self, frame_id: str) -> None:
        """Say in whose axes the page is."""
        if frame_id != self._camera_frame:
            self._camera_frame = frame_id
            self._show()

    def _show(self) -> None:
        with self._lock, self._server.atomic():
            objects = self._objects.objects
            for name in self._drawn.keys() - objects.keys():
                self._drawn.pop(name)[1].remove()
            for name, item in objects.items():
                self._draw(name, item)
            elsewhere = sorted({item.frame_id for item in objects.values()} - {self._camera_frame})
            lines = [f"{len(objects)} objects: {', '.join(sorted(objects))}" if objects else "No object."]
            if elsewhere:
                lines.append(f"Not drawn, as the page is in {self._camera_frame}: those in {', '.join(elsewhere)}")
            self._told.content = "\n\n".join(lines)

    def _draw(self, name: str, item: PlannedObject) -> None:
        before = self._drawn.get(name)
        if before is None or before[0].shapes is not item.shapes:
            if before is not None:
                before[1].remove()
            root = self._add(item)
        else:
            root = before[1]
        self._drawn[name] = item, root
        place(root, item.frame_from_object)
        root.visible = bool(self._box.value) and item.frame_id == self._camera_frame

    def _add(self, item: PlannedObject) -> Any:
        scene = self._server.scene
        path = f"/planned/{next(self._numbers)}"
        root = scene.add_frame(path, show_axes=False)
        for number, shape in enumerate(item.shapes):
            scene.add_mesh_simple(
                f"{path}/shape_{number}", shape.vertices, shape.faces, color=_COLOR, opacity=_OPACITY, flat_shading=True
            )
        points = np.concatenate([shape.vertices for shape in item.shapes] or [np.zeros((1, 3))])
        length = _AXES * float(np.linalg.norm(np.ptp(points, axis=0)))
        for number, (subframe, transform) in enumerate(item.subframes.items()):
            axes = scene.add_frame(f"{path}/subframe_{number}", axes_length=length, axes_radius=0.04 * length)
            place(axes, transform)
            scene.add_label(f"{path}/subframe_{number}/label", subframe, anchor="bottom-left")
        return root
