"""The 3D part of the page: an object, its frames, and the gizmo that moves one of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np
from viser import ViserServer

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.viser_page import colored_mesh, place

_AXES = 0.2  # of a frame, in diagonals of the object's box
_ORIGIN_AXES = 0.75  # of the mesh's own frame: they come out of the object
_GIZMO = 0.3
_VIEW = np.array([0.85, 0.7, 0.5])  # from where it is looked at first

Callback = Callable[[Any], Coroutine[Any, Any, None]]


class FrameScene:
    """Draws one object at a time, in its own frame with z up.

    Args:
        server: whose scene it is.
        on_click: called when a mesh is clicked, with viser's event.
        on_drag: called when the gizmo is moved, with viser's event.
    """

    def __init__(self, server: ViserServer, on_click: Callback, on_drag: Callback) -> None:
        self._server = server
        self._on_click = on_click
        self._objects: dict[str, Any] = {}  # by name; hidden while another one is edited, see _ShownObject of pose_view
        self._frames: dict[tuple[str, str], Any] = {}
        self._size_m: dict[str, float] = {}
        server.scene.set_up_direction("+z")
        self._gizmo = server.scene.add_transform_controls("/gizmo", depth_test=False, visible=False)
        self._gizmo.on_update(on_drag)

    def show_object(self, name: str, mesh: Mesh) -> None:
        """Show an object in place of another one, and look at it."""
        for other, root in self._objects.items():
            root.visible = other == name
        if name not in self._objects:
            self._add_object(name, mesh)
        self._gizmo.scale = _GIZMO * self._size_m[name]
        self._look_at(mesh, self._size_m[name])

    def _add_object(self, name: str, mesh: Mesh) -> None:
        low, high = mesh.bounds
        size = self._size_m[name] = float(np.linalg.norm(high - low))
        scene = self._server.scene
        length = _ORIGIN_AXES * size
        self._objects[name] = scene.add_frame(f"/{name}", axes_length=length, axes_radius=0.004 * size)
        drawn = scene.add_mesh_trimesh(f"/{name}/mesh", colored_mesh(mesh))
        drawn.on_click(self._on_click)

    def _look_at(self, mesh: Mesh, size: float) -> None:
        centre = np.mean(mesh.bounds, axis=0)
        position = centre + size * _VIEW
        cameras: list[Any] = [self._server.initial_camera]
        for camera in [*cameras, *(client.camera for client in self._server.get_clients().values())]:
            camera.position, camera.look_at = tuple(position), tuple(centre)

    def show_frames(self, name: str, frames: Mapping[str, np.ndarray]) -> None:
        """Draw the frames of the object that is shown; those that are gone are hidden.

        Args:
            name: of the object.
            frames: object_from_frame (4, 4) in metres, by their names.
        """
        with self._server.atomic():
            for (owner, frame), axes in self._frames.items():
                if owner == name:
                    axes.visible = frame in frames
            for frame, transform in frames.items():
                if (name, frame) not in self._frames:
                    self._frames[name, frame] = self._add_frame(name, frame)
                place(self._frames[name, frame], transform)

    def _add_frame(self, name: str, frame: str) -> Any:
        length = _AXES * self._size_m[name]
        path = f"/{name}/frames/{frame}"
        axes = self._server.scene.add_frame(path, axes_length=length, axes_radius=0.03 * length)
        self._server.scene.add_label(f"{path}/label", frame, anchor="bottom-left")
        return axes

    def put_gizmo(self, transform: np.ndarray | None) -> None:
        """Put the gizmo at a frame (4, 4), or away."""
        self._gizmo.visible = transform is not None
        if transform is not None:
            place(self._gizmo, transform)
