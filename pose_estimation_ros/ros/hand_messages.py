"""Hands as transforms, markers and Detection3DArray: arrays in, message out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform, TransformStamped, Vector3
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from pose_estimation_ros.data.nyu_hand import JOINTS, PALM
from pose_estimation_ros.rendering.drawing import color_of
from pose_estimation_ros.ros.frame_names import child_frame
from pose_estimation_ros.ros.messages import point_message, pose_message

NAME = "hand"  # class of the detections, and begin of the frames
KINDS = ("bones", "joints")
_BONES = (
    *((f"{finger} base", f"{finger} tip") for finger in ("pinky", "ring", "middle", "index")),
    *(("palm", f"{finger} base") for finger in ("pinky", "ring", "middle", "index", "thumb")),
    ("thumb base", "thumb middle"),
    ("thumb middle", "thumb tip"),
    ("wrist, pinky side", "palm"),
    ("wrist, thumb side", "palm"),
)
_BONE_M, _JOINT_M = 0.005, 0.012  # diameters that are drawn
_UNTURNED = np.array([0.0, 0.0, 0.0, 1.0])


def joint_frames(prefix: str, number: int) -> list[str]:
    """Return the TF frames of the joints of a hand: `<prefix>hand_<number>/<joint>`, such as `hand_0/index_tip`."""
    hand = child_frame(prefix, NAME, number)
    return [f"{hand}/{joint.replace(',', '').replace(' ', '_')}" for joint in JOINTS]


def hand_transforms(header: Header, hands: Mapping[int, Any], prefix: str) -> list[TransformStamped]:
    """Build the transforms from the camera to every joint; joints have no rotation of their own.

    Args:
        header: of the image.
        hands: values with `joints` (14, 3) in metres, by number.
        prefix: put before the frames.
    """
    return [
        TransformStamped(header=header, child_frame_id=frame, transform=Transform(translation=_vector(point)))
        for number, hand in hands.items()
        for frame, point in zip(joint_frames(prefix, number), hand.joints, strict=True)
    ]


def hand_detections(header: Header, hands: Mapping[int, Any], prefix: str) -> Detection3DArray:
    """Build a vision_msgs/Detection3DArray.

    `results[0].pose` is the palm, unturned; the box holds the joints and has the camera's axes; the covariance is
    zeros, for unknown; `id` is what the hand's frames begin with.
    """
    items = []
    for number, hand in hands.items():
        low, high = hand.joints.min(axis=0), hand.joints.max(axis=0)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = NAME, float(hand.score)
        result.pose.pose = pose_message(hand.joints[PALM], _UNTURNED)
        box = BoundingBox3D(center=pose_message((low + high) / 2.0, _UNTURNED), size=_vector(high - low))
        items.append(Detection3D(header=header, results=[result], bbox=box, id=child_frame(prefix, NAME, number)))
    return Detection3DArray(header=header, detections=items)


def hand_markers(header: Header, hands: Mapping[int, Any], gone: Collection[int], lifetime_s: float) -> MarkerArray:
    """Build the markers of one frame: a skeleton of lines and balls for every hand; those of hands gone are deleted."""
    lifetime = Duration(seconds=lifetime_s).to_msg()
    markers = [
        Marker(header=header, ns=kind, id=number, action=Marker.DELETE) for number in sorted(gone) for kind in KINDS
    ]
    index = {joint: place for place, joint in enumerate(JOINTS)}
    for number, hand in hands.items():
        points = [point_message(joint) for joint in hand.joints]
        ends = [points[index[joint]] for bone in _BONES for joint in bone]
        bones = Marker(ns="bones", type=Marker.LINE_LIST, points=ends, scale=Vector3(x=_BONE_M))
        balls = Marker(ns="joints", type=Marker.SPHERE_LIST, points=points, scale=_vector(np.full(3, _JOINT_M)))
        red, green, blue = (value / 255.0 for value in color_of(number))
        for marker in (bones, balls):
            marker.header, marker.id, marker.action, marker.lifetime = header, number, Marker.ADD, lifetime
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
            marker.pose = pose_message(np.zeros(3), _UNTURNED)
        markers += [bones, balls]
    return MarkerArray(markers=markers)


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)
