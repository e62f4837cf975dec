"""Where the camera was, in the frame that a planner plans in, when an image was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.time import Time

from pose_estimation_ros.ros.ecosystem import tf2_ros
from pose_estimation_ros.ros.view.content import transform_of

if TYPE_CHECKING:
    from rclpy.node import Node


class CameraPlaces:
    """Look up camera poses on TF.

    Args:
        node: that listens to TF.
        planning_frame: empty for the camera's own frame, for which TF is not needed.

    Raises:
        ValueError: if tf2_ros is needed and not installed.
    """

    def __init__(self, node: Node, planning_frame: str) -> None:
        self._frame = planning_frame
        self.reason = ""  # why the last look-up failed
        if not planning_frame:
            return
        library = tf2_ros()
        if library is None:
            raise ValueError(
                f"planning_frame = {planning_frame!r}: needs tf2_ros, which is not installed; leave it empty where the "
                "camera stands still"
            )
        self._failure = library.TransformException
        self._buffer = library.Buffer()
        self._listener = library.TransformListener(self._buffer, node)

    def find(self, header: Any) -> tuple[str, np.ndarray] | None:
        """Return a frame, and frame_from_camera (4, 4) at the time of an image; None where TF does not know it yet."""
        if not header.frame_id:
            self.reason = "frame_id of the detections is empty: nobody knows where the camera is"
            return None
        if not self._frame:
            return header.frame_id, np.eye(4)
        try:
            # The stamp is the image's: where the camera was then, not where it is now.
            found = self._buffer.lookup_transform(self._frame, header.frame_id, Time.from_msg(header.stamp))
        except self._failure as error:
            camera = header.frame_id
            self.reason = f"no transform from {camera!r} to {self._frame!r} at the image's time: {error}"
            return None
        return self._frame, transform_of(found.transform.translation, found.transform.rotation)
