"""The 3D part of the page: the camera with its image, and every object at its pose."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from viser import ViserServer

from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.rendering.drawing import BOX_EDGES, color_of
from pose_estimation_ros.rendering.viser_page import colored_mesh, place
from pose_estimation_ros.ros.view.content import MeshResource, ViewedCamera, ViewedObject, path_of_uri

if TYPE_CHECKING:
    import trimesh

_log = logging.getLogger(__name__)
LAYERS = ("image", "meshes", "boxes", "trails", "uncertainty")
TRAIL = 100  # positions
SIGMAS = 2.0  # of the ellipsoids, which then hold 74 % of what is normally distributed
_IMAGE_PX = 640  # the longest side as shown
_NEAREST_IMAGE_M = 0.3  # from the camera to its image
_BEHIND = 1.25  # the image stands so much farther than the farthest object
_UNIT_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))
_EDGES = np.array(BOX_EDGES)


class PoseScene:
    """What is seen of the newest frame, in the camera's axes.

    Args:
        server: whose scene it is.
    """

    def __init__(self, server: ViserServer) -> None:
        self._server = server
        self._meshes: dict[str, MeshResource] = {}
        self._loaded: dict[MeshResource, trimesh.Trimesh | None] = {}
        self._colors: dict[str, tuple[int, int, int]] = {}
        self._shown: dict[str, _ShownObject] = {}
        self._visible = dict.fromkeys(LAYERS, True)
        self._camera: ViewedCamera | None = None
        self._frustum: Any = None
        self._rgb: np.ndarray | None = None  # the newest image
        self._lock = threading.RLock()  # the page's boxes are ticked in threads of viser
        self._image_m = _NEAREST_IMAGE_M
        server.scene.set_up_direction("-y")
        server.initial_camera.position = (0.0, -0.2, -0.25)
        server.initial_camera.look_at = (0.0, 0.0, 0.8)

    def show_camera(self, camera: ViewedCamera) -> None:
        """Draw the camera's frustum, anew where the camera has changed."""
        with self._lock:
            if camera == self._camera:
                return
            self._camera = camera
            self._frustum = self._server.scene.add_camera_frustum(
                "/camera", camera.vertical_fov_rad, camera.aspect, scale=self._frustum_scale(camera), thickness=0.002
            )
            self._draw_image()

    def show_image(self, rgb: np.ndarray) -> None:
        """Show an image (H, W, 3) uint8 in the frustum, as soon as there is one."""
        shrink = _IMAGE_PX / max(rgb.shape[:2])
        small = cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1.0 else rgb
        with self._lock:
            self._rgb = np.ascontiguousarray(small)
            self._draw_image()

    def _draw_image(self) -> None:
        if self._frustum is not None:
            self._frustum.image = self._rgb if self._visible["image"] else None

    def _frustum_scale(self, camera: ViewedCamera) -> float:
        """Return viser's scale of a frustum, the side of a cube of its volume, that puts the image at `_image_m`."""
        half_height = np.tan(0.5 * camera.vertical_fov_rad)
        return float(self._image_m * np.cbrt(half_height**2 * camera.aspect / 3.0))

    def _move_image(self, objects: Sequence[ViewedObject]) -> None:
        """Keep the image behind the objects, which then stand before what the camera saw of them."""
        farthest = max((item.camera_from_box[2, 3] + np.linalg.norm(item.box_size_m) for item in objects), default=0.0)
        wanted = max(_BEHIND * float(farthest), _NEAREST_IMAGE_M)
        if objects and not 0.8 * self._image_m < wanted < 1.01 * self._image_m:
            self._image_m = wanted
            if self._frustum is not None and self._camera is not None:
                self._frustum.scale = self._frustum_scale(self._camera)

    def know_meshes(self, meshes: Mapping[str, MeshResource]) -> None:
        """Take up where the meshes of objects are; objects without one are boxes."""
        self._meshes.update(meshes)

    def show_objects(self, objects: Sequence[ViewedObject]) -> None:
        """Move what is there, add what is new and hide what is gone."""
        with self._lock, self._server.atomic():
            self._move_image(objects)
            for frame in self._shown.keys() - {item.frame for item in objects}:
                self._shown[frame].hide()
            for item in objects:
                shown = self._shown.get(item.frame)
                if shown is None:
                    color = self._colors.setdefault(item.name, color_of(len(self._colors)))
                    shown = self._shown[item.frame] = _ShownObject(self._server, item, color)
                if not shown.has_mesh and item.name in self._meshes:
                    shown.add_mesh(self._mesh(self._meshes[item.name]))
                shown.update(item, self._visible)

    def show_child_frames(self, transforms: Sequence[tuple[str, str, np.ndarray]]) -> None:
        """Draw frames on objects.

        Args:
            transforms: (parent, child, parent_from_child (4, 4) in metres); those on other frames are left out.
        """
        with self._lock:
            for parent, child, placed in transforms:
                if self.shows(parent):
                    self._shown[parent].add_child(child, placed)

    def shows(self, frame: str) -> bool:
        """Tell whether a frame is that of an object that is, or was, on the page."""
        return frame in self._shown

    def set_visible(self, layer: str, visible: bool) -> None:
        """Show or hide one of LAYERS."""
        with self._lock:
            self._visible[layer] = visible
            self._draw_image()
            for shown in self._shown.values():
                shown.apply(self._visible)

    def clear(self) -> None:
        """Hide all objects and forget their trails."""
        self.show_objects([])

    def _mesh(self, resource: MeshResource) -> trimesh.Trimesh | None:
        if resource not in self._loaded:
            self._loaded[resource] = _read(resource)
        return self._loaded[resource]


class _ShownObject:
    """The parts that one instance has on the page.

    They are hidden while it is gone: what is removed and made anew under its old name may be shown at the origin.
    """

    def __init__(self, server: ViserServer, item: ViewedObject, color: tuple[int, int, int]) -> None:
        self._server, self._color = server, color
        self._path = f"/objects/{item.frame}"
        length = 0.4 * float(np.linalg.norm(item.box_size_m))
        scene = server.scene
        self._root = scene.add_frame(self._path, axes_length=length, axes_radius=0.02 * length)
        segments = (_UNIT_CORNERS * item.box_size_m)[_EDGES].astype(np.float32)
        self._box = scene.add_line_segments(f"/boxes/{item.frame}", segments, color, thickness=0.02 * length)
        self._label = scene.add_label(f"/labels/{item.frame}", item.frame)
        self._mesh: Any = None
        self._ellipsoid: Any = None
        self._trail: Any = None
        self._positions: deque[np.ndarray] = deque(maxlen=TRAIL)
        self._children: dict[str, Any] = {}
        self.has_mesh = False
        self._is_there, self._has_covariance = True, False

    def add_mesh(self, mesh: trimesh.Trimesh | None) -> None:
        """Show the mesh; None where it cannot be read, which is not tried again."""
        self.has_mesh = True
        if mesh is not None:
            self._mesh = self._server.scene.add_mesh_trimesh(f"{self._path}/mesh", mesh)

    def add_child(self, name: str, placed: np.ndarray) -> None:
        """Show a frame on the object at `placed` (4, 4)."""
        if name not in self._children:
            size = 0.5 * self._root.axes_length
            path = f"{self._path}/{name}"
            self._children[name] = self._server.scene.add_frame(path, axes_length=size, axes_radius=0.03 * size)
        place(self._children[name], placed)

    def update(self, item: ViewedObject, visible: Mapping[str, bool]) -> None:
        """Move everything to the pose of the newest frame."""
        self._is_there = True
        place(self._root, item.camera_from_object)
        place(self._box, item.camera_from_box)
        self._label.text = f"{item.frame}  {item.score:.2f}"
        above = np.array([0.0, -0.6 * float(np.linalg.norm(item.box_size_m)), 0.0])
        self._label.position = item.camera_from_box[:3, 3] + above
        self._positions.append(item.camera_from_box[:3, 3].astype(np.float32))
        self._update_trail()
        self._update_ellipsoid(item)
        self.apply(visible)

    def _update_trail(self) -> None:
        if len(self._positions) < 2:
            return
        points = np.stack(self._positions)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        if self._trail is not None:
            self._trail.points = segments
            return
        name = self._path.replace("/objects", "/trails", 1)
        self._trail = self._server.scene.add_line_segments(
            name, segments, self._color, thickness=2.0, thickness_units="screen"
        )

    def _update_ellipsoid(self, item: ViewedObject) -> None:
        self._has_covariance = item.position_covariance is not None
        if item.position_covariance is None:
            return
        radii, rotation = ellipsoid(item.position_covariance)
        if self._ellipsoid is None:
            name = self._path.replace("/objects", "/uncertainty", 1)
            self._ellipsoid = self._server.scene.add_icosphere(name, 1e-3, color=self._color, opacity=0.3)
        self._ellipsoid.scale = tuple(1e3 * float(radius) for radius in radii)
        placed = np.eye(4)
        placed[:3, :3], placed[:3, 3] = rotation, item.camera_from_object[:3, 3]
        place(self._ellipsoid, placed)

    def apply(self, visible: Mapping[str, bool]) -> None:
        """Show and hide the layers of an instance that is there."""
        if not self._is_there:
            return
        _show(self._mesh, visible["meshes"])
        _show(self._box, visible["boxes"])
        _show(self._trail, visible["trails"] and len(self._positions) > 1)
        _show(self._ellipsoid, visible["uncertainty"] and self._has_covariance)
        _show(self._root, True)
        _show(self._label, True)

    def hide(self) -> None:
        """Take the instance from the page until it comes again."""
        self._is_there = False
        self._positions.clear()
        for handle in (self._root, self._box, self._label, self._trail, self._ellipsoid):
            _show(handle, False)


def _show(handle: Any, visible: bool) -> None:
    if handle is not None and handle.visible != visible:
        handle.visible = visible


def ellipsoid(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return half axes (3,) in metres of SIGMAS standard deviations, and their directions as a rotation (3, 3).

    Args:
        covariance: (3, 3), square metres.
    """
    variances, directions = np.linalg.eigh(covariance)
    if np.linalg.det(directions) < 0.0:
        directions[:, 0] *= -1.0
    return SIGMAS * np.sqrt(np.maximum(variances, 1e-12)), directions


def _read(resource: MeshResource) -> trimesh.Trimesh | None:
    """Read a mesh in its colours; None where it cannot be read."""
    try:
        mesh = load_mesh(path_of_uri(resource.uri), "m", any_size=True)
    except (ValueError, OSError) as error:
        _log.warning("no mesh on the page: %s", error)
        return None
    return colored_mesh(mesh, resource.scale)
