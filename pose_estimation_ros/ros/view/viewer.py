"""Scene and panel together, fed with messages."""

from __future__ import annotations

import logging
from typing import Any

from viser import ViserServer

from pose_estimation_ros.ros.images import compressed_to_rgb, image_to_rgb
from pose_estimation_ros.ros.input_error import ImageError
from pose_estimation_ros.ros.view.content import camera_of, meshes_of, objects_of, status_of, transform_of
from pose_estimation_ros.ros.view.panel import Panel
from pose_estimation_ros.ros.view.planned_scene import PlannedScene
from pose_estimation_ros.ros.view.scene import PoseScene

_log = logging.getLogger(__name__)


class Viewer:
    """A page that shows the newest message of every kind.

    Args:
        server: of the page.
        node: name of the pose node on /diagnostics; with a leading slash, only the one of this namespace is meant.
        planner: show the planner's collision objects, too.
    """

    def __init__(self, server: ViserServer, node: str, planner: bool = False) -> None:
        self.scene = PoseScene(server)
        self.panel = Panel(server, self.scene)
        self._planned = PlannedScene(server) if planner else None
        self.node = node
        self._transforms: Any = None  # the newest message
        self._said = ""  # what was wrong with the newest image

    def take(self, kind: str, message: Any) -> None:
        """Show a message: an image, compressed, camera_info, detections, markers, tf, diagnostics or planning_scene."""
        getattr(self, f"_take_{kind}")(message)

    def clear(self) -> None:
        """Forget the objects and their trails."""
        self.scene.clear()
        self.panel.show_objects(())

    def _take_image(self, message: Any) -> None:
        self._show_image(image_to_rgb, message)

    def _take_compressed(self, message: Any) -> None:
        self._show_image(compressed_to_rgb, message)

    def _show_image(self, read: Any, message: Any) -> None:
        try:
            self.scene.show_image(read(message))
            self._said = ""
        except ImageError as error:
            if str(error) != self._said:
                _log.warning("no image on the page: %s", error)
            self._said = str(error)

    def _take_camera_info(self, message: Any) -> None:
        camera = camera_of(message)
        if camera is not None:
            self.scene.show_camera(camera)

    def _take_detections(self, message: Any) -> None:
        objects = objects_of(message)
        self.scene.show_objects(objects)
        self.panel.show_objects(objects)
        if self._planned is not None:
            self._planned.set_camera_frame(message.header.frame_id)
        if self._transforms is not None:  # they are sent before the detections
            self._take_tf(self._transforms)

    def _take_markers(self, message: Any) -> None:
        self.scene.know_meshes(meshes_of(message))

    def _take_tf(self, message: Any) -> None:
        self._transforms = message
        self.scene.show_child_frames(
            [
                (
                    item.header.frame_id,
                    item.child_frame_id,
                    transform_of(item.transform.translation, item.transform.rotation),
                )
                for item in message.transforms
                if self.scene.shows(item.header.frame_id)
            ]
        )

    def _take_diagnostics(self, message: Any) -> None:
        status = status_of(message, self.node)
        if status is not None:
            self.panel.show_status(status)

    def _take_planning_scene(self, message: Any) -> None:
        if self._planned is not None:
            self._planned.take(message)
