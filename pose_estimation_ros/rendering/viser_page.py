"""What pages in the browser share: the server, meshes in their colours, and transforms of what is drawn."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.mesh_surface import surface_colors

if TYPE_CHECKING:
    import argparse

    import trimesh
    from viser import ViserServer

_PORT = 8080


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add --host and --port."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address that serves the page; 0.0.0.0 for all (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=_PORT, help="the next free one from here on (default: %(default)s)")


@contextmanager
def page_server(command: str, host: str, port: int) -> Iterator[ViserServer]:
    """Serve a page, and print where it is.

    Args:
        command: what prints it.
        host: address of this machine.
        port: the first one that is tried.

    Raises:
        ValueError: if nothing can be served there.
        ModuleNotFoundError: if viser is not installed.
    """
    if not 0 < port < 65536:
        raise ValueError(f"--port {port}: expected 1 to 65535")
    _refuse_unusable(host)
    import viser

    server = viser.ViserServer(host, port, verbose=False)
    try:
        print(f"{command}: http://{host}:{server.get_port()}", flush=True)
        yield server
    finally:
        server.stop()


def _refuse_unusable(host: str) -> None:
    """Refuse an address of another machine: viser would wait for it for ever.

    Raises:
        ValueError: if nothing can be served there.
    """
    try:
        with socket.create_server((host, 0)):
            pass
    except OSError as error:
        raise ValueError(f"--host {host}: {error.strerror or error}") from error


def colored_mesh(mesh: Mesh, scale: float = 1.0) -> trimesh.Trimesh:
    """Return a mesh with a colour at every corner of its triangles, which browsers show without its texture.

    Args:
        mesh: with a texture or colours of vertices.
        scale: metres of its unit.
    """
    import trimesh

    corners = mesh.vertices[mesh.faces].reshape(-1, 3) * scale
    faces = np.arange(len(corners)).reshape(-1, 3)
    face, weights = np.repeat(np.arange(len(mesh.faces)), 3), np.tile(np.eye(3), (len(mesh.faces), 1))
    colors = (255.0 * surface_colors(mesh, face, weights)).round().astype(np.uint8)
    return trimesh.Trimesh(corners, faces, vertex_colors=colors, process=False)


def place(handle: Any, transform: np.ndarray) -> None:
    """Put something that viser draws at a rigid transform (4, 4)."""
    x, y, z, w = Rotation.from_matrix(transform[:3, :3]).as_quat()
    handle.wxyz = np.array([w, x, y, z])
    handle.position = transform[:3, 3]


def placed_at(handle: Any) -> np.ndarray:
    """Return the rigid transform (4, 4) of something that viser draws."""
    w, x, y, z = handle.wxyz
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = Rotation.from_quat([x, y, z, w]).as_matrix(), handle.position
    return transform
