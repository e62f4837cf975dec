"""The topics that the node publishes for every frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from pose_estimation_ros.ros.diagnostics import Problem
from pose_estimation_ros.ros.images import rgb_to_image
from pose_estimation_ros.ros.loading import LoadedPipeline
from pose_estimation_ros.ros.marker_lifetime import MarkerLifetime
from pose_estimation_ros.ros.markers import Track, marker_array
from pose_estimation_ros.ros.messages import detections_2d, detections_3d, label_info, stamped_transforms
from pose_estimation_ros.ros.transform_sender import TransformSender

if TYPE_CHECKING:
    from rclpy.node import Node


def reliable(depth: int) -> QoSProfile:
    """Return the quality of service of what comes anew with every image."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


# Of what holds until something new is said: whoever subscribes later gets the newest message, too.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


OVERLAY = "overlay"


def debug_topic(name: str) -> str:
    """Return the topic, below the node's name, of what backend or refiner draw under this name."""
    return f"debug/{name}"


class Outputs:
    """Publish poses and detections of frame after frame.

    Args:
        node: owner of the publishers.
        loaded: catalog and meshes of the objects.
        frame_prefix: put before the child frames on TF.
        on_demand: a result holds until the next one: it is latched, and its markers stay.
    """

    def __init__(self, node: Node, loaded: LoadedPipeline, frame_prefix: str, on_demand: bool = False) -> None:
        self._node = node
        self._loaded = loaded
        self.frame_prefix = frame_prefix
        self._tf = TransformSender(node)
        of_results = LATCHED if on_demand else reliable(10)
        self._detections_3d = node.create_publisher(Detection3DArray, "~/detections", of_results)
        self._detections_2d = node.create_publisher(Detection2DArray, "~/detections_2d", of_results)
        self._markers = node.create_publisher(MarkerArray, "~/markers", of_results)
        self._labels = node.create_publisher(LabelInfo, "~/labels", LATCHED)
        self._threshold: float | None = None  # that was published with the labels
        self._images: dict[str, Any] = {}
        self._publish_images_of(loaded)
        self._marked: set[Track] = set()
        self._lifetime = None if on_demand else MarkerLifetime()
        self._last_header = Header()

    def replace(self, loaded: LoadedPipeline) -> None:
        """Go on with other objects; the markers of those that are gone are deleted."""
        names = {model.name for model in loaded.catalog}
        gone = {track for track in self._marked if track[0] not in names}
        if gone:
            self._delete_markers(gone)
        self._marked -= gone
        self._loaded, self._threshold = loaded, None
        self._publish_images_of(loaded)

    def publish_labels(self, threshold: float) -> None:
        """Publish the names of the objects and the least score of poses, unless that has been done."""
        if threshold != self._threshold:
            self._threshold = threshold
            header = Header(stamp=self._node.get_clock().now().to_msg())
            self._labels.publish(label_info(header, self._loaded.catalog, threshold))

    def _publish_images_of(self, loaded: LoadedPipeline) -> None:
        """Have a publisher for every image that a pipeline draws, and no other; those that are needed still stay."""
        topics = (OVERLAY, *(debug_topic(name) for name in loaded.debug_names))
        for topic in self._images.keys() - set(topics):
            self._node.destroy_publisher(self._images.pop(topic))
        for topic in topics:
            if topic not in self._images:
                self._images[topic] = self._node.create_publisher(Image, f"~/{topic}", reliable(2))

    def publish_tf(self, header: Header, poses: list[Any]) -> Problem | None:
        """Publish the transforms; say why not when TF cannot take them."""
        return self._tf.send(header, stamped_transforms(header, poses, self._loaded.catalog, self.frame_prefix))

    @property
    def collision(self) -> str:
        """Which frame somebody else sends, too; empty when none."""
        return self._tf.collision

    def publish_poses(self, header: Header, result: Any) -> None:
        """Publish detections and markers."""
        catalog = self._loaded.catalog
        prefix = self.frame_prefix
        self._detections_3d.publish(detections_3d(header, result.poses, catalog, prefix))
        self._detections_2d.publish(detections_2d(header, result.detections, result.poses, catalog, prefix))
        tracks = {(pose.name, pose.track_id) for pose in result.poses}
        lifetime_s = 0.0 if self._lifetime is None else self._lifetime.next_s()
        gone = self._marked - tracks
        self._markers.publish(marker_array(header, result.poses, gone, catalog, self._loaded.mesh_uris, lifetime_s))
        self._marked, self._last_header = tracks, header

    def watched_images(self) -> frozenset[str]:
        """Return those topics of drawn images that somebody subscribes to."""
        return frozenset(topic for topic, images in self._images.items() if images.get_subscription_count())

    def publish_images(self, header: Header, images: Mapping[str, np.ndarray]) -> None:
        """Publish drawn images (H, W, 3) uint8 by topic."""
        for topic, image in images.items():
            self._images[topic].publish(rgb_to_image(image, header))

    def clear_markers(self) -> None:
        """Delete all markers that are shown."""
        if self._marked:
            self._delete_markers(self._marked)
        self._marked = set()

    def _delete_markers(self, tracks: set[Track]) -> None:
        self._markers.publish(marker_array(self._last_header, [], tracks, self._loaded.catalog, {}, 0.0))

    def forget_stamps(self) -> None:
        """Allow stamps again that were sent before, after the clock went back."""
        self._tf.forget_stamps()

    def destroy(self) -> None:
        """Destroy the publishers, and what listens to /tf."""
        self._tf.destroy()
        always = (self._detections_3d, self._detections_2d, self._markers, self._labels)
        for publisher in (*always, *self._images.values()):
            self._node.destroy_publisher(publisher)
