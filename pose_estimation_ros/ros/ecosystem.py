"""cv_bridge, tf_transformations and tf2_ros where they are installed, a few lines of our own where they are not.

A robot's rosdep installs all three; rclpy from a Python package index comes without them. No other module asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pose_estimation_ros.geometry import rotations

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node


@contextmanager
def _optional(name: str) -> Iterator[None]:
    """Go on without a module that is absent; one that is there and broken gives a warning."""
    try:
        yield
    except Exception as error:  # built against another NumPy, for instance
        if not (isinstance(error, ModuleNotFoundError) and error.name == name):
            text = f"{name} is installed but cannot be imported: {type(error).__name__}: {error}; doing without it"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


@cache
def cv_bridge() -> ModuleType | None:
    """Return cv_bridge, None where it is not installed."""
    with _optional("cv_bridge"):
        import cv_bridge as module

        return module
    return None


@cache
def tf_transformations() -> ModuleType | None:
    """Return tf_transformations, None where it is not installed."""
    with _optional("tf_transformations"):
        import tf_transformations as module

        return module
    return None


@cache
def tf2_ros() -> ModuleType | None:
    """Return tf2_ros, None where it is not installed."""
    with _optional("tf2_ros"):
        import tf2_ros as module

        return module
    return None


def quaternions_from_matrices(transforms: np.ndarray) -> np.ndarray:
    """Return the rotations of rigid transforms (N, 4, 4) as unit quaternions xyzw with w >= 0, shape (N, 4)."""
    library = tf_transformations()
    if library is None:
        matrices = torch.from_numpy(np.asarray(transforms[:, :3, :3], dtype=np.float64))
        return rotations.quaternion_from_matrix(matrices).numpy()
    quaternions = [library.quaternion_from_matrix(transform) for transform in transforms.astype(np.float64)]
    return np.reshape(quaternions, (-1, 4))


def matrix_from_quaternion(quaternion: Sequence[float]) -> np.ndarray:
    """Return the rotation of a quaternion xyzw as a rigid transform (4, 4) float64 without translation."""
    library = tf_transformations()
    if library is not None:
        return np.asarray(library.quaternion_matrix(quaternion))
    transform = np.eye(4)
    transform[:3, :3] = rotations.matrix_from_quaternion(torch.tensor(quaternion, dtype=torch.float64)).numpy()
    return transform


def transform_broadcaster(node: Node) -> Any:
    """Return what sends transforms to /tf for a node: tf2_ros.TransformBroadcaster, or PlainBroadcaster."""
    library = tf2_ros()
    return PlainBroadcaster(node) if library is None else library.TransformBroadcaster(node)


class PlainBroadcaster:
    """Publish transforms as tf2_ros.TransformBroadcaster does, with the names that it has.

    Args:
        node: owner of the publisher `pub_tf`.
    """

    def __init__(self, node: Node) -> None:
        from rclpy.qos import QoSProfile
        from tf2_msgs.msg import TFMessage

        self._message_type = TFMessage
        self.pub_tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))

    def sendTransform(self, transform: list[TransformStamped]) -> None:
        """Send transforms."""
        self.pub_tf.publish(self._message_type(transforms=transform))
