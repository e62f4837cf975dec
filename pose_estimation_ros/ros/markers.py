"""Markers for RViz and Foxglove: mesh, box, axes and label of every object, with ids that stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from pose_estimation_ros.objects.catalog import UNITS_M, Catalog, ObjectModel
from pose_estimation_ros.rendering.drawing import BOX_EDGES, box_corners, color_of
from pose_estimation_ros.ros.messages import point_message, pose_message, quaternions_of

_LEAST_OPACITY = 0.25
KINDS = ("mesh", "box", "axes", "label")
Track = tuple[str, int]  # object name, track id


def marker_array(
    header: Header,
    poses: Sequence[Any],
    gone: Collection[Track],
    catalog: Catalog,
    mesh_uris: Mapping[str, str],
    lifetime_s: float,
) -> MarkerArray:
    """Build the markers of one frame.

    Args:
        header: header of the image.
        poses: ObjectPose values.
        gone: tracks that had markers before and have none now; their markers are deleted.
        catalog: the objects.
        mesh_uris: where viewers find the mesh, by object name; objects without one get no mesh marker.
        lifetime_s: after which viewers drop markers that nobody has sent again; 0 for never.
    """
    lifetime = Duration(seconds=lifetime_s).to_msg()
    markers = [marker for track in sorted(gone) for marker in _deletions(header, track)]
    for pose, quaternion in zip(poses, quaternions_of(poses), strict=True):
        model = catalog[pose.object_index]
        color = _color(color_of(pose.object_index), opacity(pose.score))
        placed = pose_message(pose.camera_from_object[:3, 3], quaternion)
        own = [_box(model, color), _axes(model), _label(model, f"{pose.name} {pose.track_id}  {pose.score:.2f}")]
        if pose.name in mesh_uris:
            own.append(_mesh(model, mesh_uris[pose.name], color))
        for marker in own:
            marker.header = header
            marker.ns = f"{marker.ns}/{pose.name}"
            marker.id = pose.track_id
            marker.action = Marker.ADD
            marker.pose = placed
            marker.lifetime = lifetime
        own[2].pose = _above(pose.camera_from_object, model)
        markers.extend(own)
    return MarkerArray(markers=markers)


def _deletions(header: Header, track: Track) -> list[Marker]:
    name, track_id = track
    return [Marker(header=header, ns=f"{kind}/{name}", id=track_id, action=Marker.DELETE) for kind in KINDS]


def _mesh(model: ObjectModel, uri: str, color: ColorRGBA) -> Marker:
    scale = UNITS_M[model.mesh_unit]
    return Marker(
        ns="mesh",
        type=Marker.MESH_RESOURCE,
        mesh_resource=uri,
        mesh_use_embedded_materials=True,
        scale=Vector3(x=scale, y=scale, z=scale),
        color=color,
    )


def _box(model: ObjectModel, color: ColorRGBA) -> Marker:
    corners = box_corners(model)
    points = [point_message(corners[index]) for edge in BOX_EDGES for index in edge]
    return Marker(ns="box", type=Marker.LINE_LIST, scale=_line_width(model), color=color, points=points)


def _axes(model: ObjectModel) -> Marker:
    tips = 0.6 * model.diameter_m * np.eye(3)
    points = [point for tip in tips for point in (point_message(np.zeros(3)), point_message(tip))]
    colors = [_color([int(255 * value) for value in axis]) for axis in np.eye(3) for _ in range(2)]
    return Marker(ns="axes", type=Marker.LINE_LIST, scale=_line_width(model), points=points, colors=colors)


def _label(model: ObjectModel, text: str) -> Marker:
    height = max(0.15 * model.diameter_m, 0.01)
    return Marker(
        ns="label", type=Marker.TEXT_VIEW_FACING, scale=Vector3(z=height), color=_color((255, 255, 255)), text=text
    )


def _above(camera_from_object: np.ndarray, model: ObjectModel) -> Any:
    """Return a pose above the object as the camera sees it (camera y points down)."""
    centre = camera_from_object[:3, :3] @ model.centre_m + camera_from_object[:3, 3]
    return pose_message(centre - np.array([0.0, 0.6 * model.diameter_m, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def _line_width(model: ObjectModel) -> Vector3:
    return Vector3(x=max(0.015 * model.diameter_m, 0.001))


def opacity(score: float) -> float:
    """Return how opaque mesh and box of a pose are: wholly at score 1, and to be seen still at 0."""
    return _LEAST_OPACITY + (1.0 - _LEAST_OPACITY) * min(max(float(score), 0.0), 1.0)


def _color(rgb: Sequence[int], alpha: float = 1.0) -> ColorRGBA:
    red, green, blue = (float(value) / 255.0 for value in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
