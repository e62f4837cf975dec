"""The shape of a mesh in fewer triangles, without its colours."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.objects.mesh import Mesh


def decimated(mesh: Mesh, triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (V, 3) float64, metres, and faces (F, 3) of a mesh in at most about so many triangles.

    Vertices at one place become one. Quadric error metrics (Garland and Heckbert 1997) by Open3D.
    """
    from pose_estimation_ros.objects.light_open3d import open3d

    coarse = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)),
        open3d.utility.Vector3iVector(mesh.faces.astype(np.int32)),
    ).remove_duplicated_vertices()  # neighbours know each other only where they share vertices
    if len(coarse.triangles) > triangles:
        coarse = coarse.simplify_quadric_decimation(triangles)
    return np.asarray(coarse.vertices), np.asarray(coarse.triangles)
