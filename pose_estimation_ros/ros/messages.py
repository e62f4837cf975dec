"""Poses and detections as transforms, Detection3DArray and Detection2DArray: arrays in, message out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.ros.ecosystem import quaternions_from_matrices
from pose_estimation_ros.ros.frame_names import child_frame, frame_on_object

try:
    from vision_msgs.msg import (
        BoundingBox2D,
        BoundingBox3D,
        Detection2D,
        Detection2DArray,
        Detection3D,
        Detection3DArray,
        LabelInfo,
        ObjectHypothesisWithPose,
        VisionClass,
    )
except ImportError as error:
    raise ImportError(f"{error}: source scripts/env.sh, or the setup file of your ROS 2 workspace, first") from error


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def quaternions_of(poses: Sequence[Any]) -> np.ndarray:
    """Return the rotations of N poses as quaternions xyzw, shape (N, 4)."""
    if not poses:
        return np.zeros((0, 4))
    return quaternions_from_matrices(np.stack([pose.camera_from_object for pose in poses]))


def point_message(position: np.ndarray) -> Point:
    """Build a geometry_msgs/Point from a position (3,) in metres."""
    x, y, z = (float(value) for value in position)
    return Point(x=x, y=y, z=z)


def pose_message(position: np.ndarray, quaternion: np.ndarray) -> Pose:
    """Build a geometry_msgs/Pose from a position (3,) in metres and a quaternion (4,) xyzw."""
    qx, qy, qz, qw = (float(value) for value in quaternion)
    return Pose(position=point_message(position), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def stamped_transforms(header: Header, poses: Sequence[Any], catalog: Catalog, prefix: str) -> list[TransformStamped]:
    """Build the transforms from the camera frame to every object, and from the objects to their own frames.

    Args:
        header: header of the image; its frame is the parent of all objects.
        poses: ObjectPose values with name, track_id and camera_from_object (4, 4) in metres.
        catalog: the objects.
        prefix: put before the child frames.
    """
    of_objects, of_frames = [], []
    for pose, quaternion in zip(poses, quaternions_of(poses), strict=True):
        name = child_frame(prefix, pose.name, pose.track_id)
        of_objects.append(_stamped(header, name, pose.camera_from_object, quaternion))
        on_object = Header(stamp=header.stamp, frame_id=name)
        for item in catalog[pose.object_index].frames:
            turned = quaternions_from_matrices(item.object_from_frame[None])[0]
            of_frames.append(_stamped(on_object, frame_on_object(name, item.name), item.object_from_frame, turned))
    return of_objects + of_frames


def _stamped(header: Header, child: str, parent_from_child: np.ndarray, quaternion: np.ndarray) -> TransformStamped:
    placed = pose_message(parent_from_child[:3, 3], quaternion)
    translation = Vector3(x=placed.position.x, y=placed.position.y, z=placed.position.z)
    transform = Transform(translation=translation, rotation=placed.orientation)
    return TransformStamped(header=header, child_frame_id=child, transform=transform)


def detections_3d(header: Header, poses: Sequence[Any], catalog: Catalog, prefix: str) -> Detection3DArray:
    """Build a vision_msgs/Detection3DArray.

    `results[0].pose` is the frame of the mesh, `bbox.center` the centre of the object's box, `bbox.size` its full edge
    lengths, `id` the object's frame on TF, `class_id` its name, `score` the probability that the pose is right where
    the bundle has a calibrated score. The covariance (6, 6) is x y z rx ry rz in camera axes, zeros for unknown.
    """
    items = []
    for pose, quaternion in zip(poses, quaternions_of(poses), strict=True):
        model = catalog[pose.object_index]
        placed = pose.camera_from_object
        width, depth, height = (2.0 * float(value) for value in model.half_size_m)
        centre = placed[:3, :3] @ model.centre_m + placed[:3, 3]
        items.append(
            Detection3D(
                header=header,
                results=[_hypothesis(pose.name, pose.score, pose_message(placed[:3, 3], quaternion), pose.covariance)],
                bbox=BoundingBox3D(center=pose_message(centre, quaternion), size=Vector3(x=width, y=depth, z=height)),
                id=child_frame(prefix, pose.name, pose.track_id),
            )
        )
    return Detection3DArray(header=header, detections=items)


def detections_2d(
    header: Header, detections: Sequence[Detection], poses: Sequence[Any], catalog: Catalog, prefix: str
) -> Detection2DArray:
    """Build a vision_msgs/Detection2DArray from everything the detector found.

    `id` is the frame on TF of the pose that came from the box, empty where no pose came out. Boxes are in pixels of the
    undistorted image, pixel centres at integers.
    """
    items = []
    for detection in detections:
        x0, y0, x1, y1 = (float(value) for value in detection.box)
        box = BoundingBox2D(size_x=x1 - x0, size_y=y1 - y0)
        box.center.position.x, box.center.position.y = (x0 + x1) / 2.0, (y0 + y1) / 2.0
        results = [_hypothesis(catalog[detection.object_index].name, detection.score)]
        frame = _frame_of(detection, poses, prefix)
        items.append(Detection2D(header=header, results=results, bbox=box, id=frame))
    return Detection2DArray(header=header, detections=items)


def label_info(header: Header, catalog: Catalog, threshold: float) -> LabelInfo:
    """Build a vision_msgs/LabelInfo: the objects' names, numbered as in the bundle, and the least score of poses."""
    classes = [VisionClass(class_id=index, class_name=model.name) for index, model in enumerate(catalog)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def _frame_of(detection: Detection, poses: Sequence[Any], prefix: str) -> str:
    for pose in poses:
        if pose.object_index == detection.object_index and np.allclose(pose.box, detection.box, atol=0.5):
            return child_frame(prefix, pose.name, pose.track_id)
    return ""


def _hypothesis(
    name: str, score: float, pose: Pose | None = None, covariance: np.ndarray | None = None
) -> ObjectHypothesisWithPose:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = name
    result.hypothesis.score = float(score)
    if pose is not None:
        result.pose.pose = pose
    if covariance is not None:
        result.pose.covariance = np.ascontiguousarray(covariance, dtype=np.float64).reshape(-1)
    return result
