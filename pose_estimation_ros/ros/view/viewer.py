"""Scene and panel together, fed with messages."""

from __future__ import annotations

import logging
from typing import Any

from viser import ViserServer

from pose_estimation_ros.ros.images import compressed_to_rgb, image_to_rgb
from pose_estimation_ros.ros.input_error import ImageError
from pose_estimation_ros.ros.view.content import camera_of, meshes_of, objects_of, status_of, transform_of
from pose_estimation_ros.ros.view.panel import Panel
from pose_estimation_ros.ros.view.scene import PoseScene

_log = logging.getLogger(__name__)
KINDS = ("image", "compressed", "camera_info", "detections", "markers", "tf", "diagnostics")


class Viewer:
    """A page that shows the newest message of every kind.

    Args:
        server: of the page.
        node: name of the pose node on /diagnostics.
    """

    def __init__(self, server: ViserServer, node: str) -> None:
        self.scene = PoseScene(server)
        self.panel = Panel(server, self.scene)
        self._node = node

    def take(self, kind: str, message: Any) -> None:
        """Show a message of one of KINDS."""
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
        except ImageError as error:
            _log.warning("no image on the page: %s", error)

    def _take_camera_info(self, message: Any) -> None:
        camera = camera_of(message)
        if camera is not None:
            self.scene.show_camera(camera)

    def _take_detections(self, message: Any) -> None:
        objects = objects_of(message)
        self.scene.show_objects(objects)
        self.panel.show_objects(objects)

    def _take_markers(self, message: Any) -> None:
        self.scene.know_meshes(meshes_of(message))

    def _take_tf(self, message: Any) -> None:
        self.scene.show_child_frames(
            [
                (
                    item.header.frame_id,
                    item.child_frame_id,
                    transform_of(item.transform.translation, item.transform.rotation),
                )
                for item in message.transforms
            ]
        )

    def _take_diagnostics(self, message: Any) -> None:
        status = status_of(message, self._node)
        if status is not None:
            self.panel.show_status(status)
