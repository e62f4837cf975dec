"""What the page shows, read from messages of rclpy or of an MCAP file alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from scipy.spatial.transform import Rotation

_MESH_RESOURCE = 10  # visualization_msgs/Marker


@dataclass(frozen=True)
class ViewedObject:
    """One instance of an object in one image."""

    frame: str  # on TF
    name: str
    score: float
    camera_from_object: np.ndarray  # (4, 4), metres
    camera_from_box: np.ndarray  # (4, 4), metres
    box_size_m: np.ndarray  # (3,), full edges
    position_covariance: np.ndarray | None  # (3, 3), square metres, camera axes; None where it is not known


@dataclass(frozen=True)
class ViewedCamera:
    """The opening of a pinhole camera."""

    vertical_fov_rad: float
    aspect: float  # width over height


@dataclass(frozen=True)
class MeshResource:
    """Where a mesh is, and how many metres a unit of its file has."""

    uri: str
    scale: float


@dataclass(frozen=True)
class NodeStatus:
    """What a node says of itself in one message on /diagnostics."""

    level: int  # of diagnostic_msgs/DiagnosticStatus
    message: str
    values: Mapping[str, str]

    @property
    def tracks(self) -> frozenset[str]:
        """Frames on TF of all instances that are not given up."""
        start, end = "track ", " state"
        states = [key for key in self.values if key.startswith(start) and key.endswith(end)]
        return frozenset(key.removeprefix(start).removesuffix(end) for key in states)

    def track_values(self, frame: str) -> dict[str, str]:
        """Return what is said of an instance, such as its `state`, by the last word of the key."""
        start = f"track {frame} "
        return {key.removeprefix(start): value for key, value in self.values.items() if key.startswith(start)}


def transform_of(position: Any, orientation: Any) -> np.ndarray:
    """Return a rigid transform (4, 4) from a geometry_msgs/Point or Vector3 and a Quaternion."""
    transform = np.eye(4)
    quaternion = (orientation.x, orientation.y, orientation.z, orientation.w)
    transform[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    transform[:3, 3] = (position.x, position.y, position.z)
    return transform


def objects_of(detections: Any) -> list[ViewedObject]:
    """Read a vision_msgs/Detection3DArray; detections without a pose are left out."""
    found = []
    for item in detections.detections:
        if not item.results:
            continue
        result, size = item.results[0], item.bbox.size
        covariance = np.asarray(result.pose.covariance, dtype=np.float64).reshape(6, 6)[:3, :3]
        found.append(
            ViewedObject(
                item.id,
                result.hypothesis.class_id,
                float(result.hypothesis.score),
                transform_of(result.pose.pose.position, result.pose.pose.orientation),
                transform_of(item.bbox.center.position, item.bbox.center.orientation),
                np.array([size.x, size.y, size.z]),
                covariance if covariance.any() else None,
            )
        )
    return found


def camera_of(info: Any) -> ViewedCamera | None:
    """Read a sensor_msgs/CameraInfo; None for a camera that is not calibrated."""
    focal = float(info.k[4])
    if focal <= 0.0 or info.height < 1 or info.width < 1:
        return None
    return ViewedCamera(2.0 * float(np.arctan(0.5 * info.height / focal)), info.width / info.height)


def meshes_of(markers: Any) -> dict[str, MeshResource]:
    """Return the meshes in a visualization_msgs/MarkerArray of a pose node, by object name."""
    return {
        marker.ns.removeprefix("mesh/"): MeshResource(marker.mesh_resource, float(marker.scale.x))
        for marker in markers.markers
        if marker.type == _MESH_RESOURCE and marker.mesh_resource
    }


def status_of(diagnostics: Any, node: str) -> NodeStatus | None:
    """Return what a diagnostic_msgs/DiagnosticArray says of a node, named with or without its namespace."""
    for status in diagnostics.status:
        if status.name.strip("/") == node.strip("/") or status.name.rsplit("/", 1)[-1] == node:
            level = status.level if isinstance(status.level, int) else int.from_bytes(status.level, "little")
            return NodeStatus(level, status.message, {item.key: item.value for item in status.values})
    return None


def path_of_uri(uri: str) -> Path:
    """Return the file that a `file://` or `package://` URI of a marker means.

    Raises:
        ValueError: if it is none of them, or the package is not installed.
    """
    parts = urlparse(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme != "package":
        raise ValueError(f"{uri}: expected a URI that begins with file:// or package://")
    from ament_index_python.packages import get_package_share_directory

    try:
        share = get_package_share_directory(parts.netloc)
    except (LookupError, OSError) as error:  # OSError: AMENT_PREFIX_PATH is not set
        raise ValueError(f"{uri}: package {parts.netloc} is not installed here") from error
    return Path(share, unquote(parts.path).lstrip("/"))
