"""What networks have to know of neural meshes: tensors of one size for all, and which vertices are seen from where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.methods.nemo.meshes import NeuralMesh
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.outline import even_directions
from pose_estimation_ros.rendering.raycaster import RayEngine, make_engine

_TOLERANCE = 0.02  # hits so near to a vertex, in lengths of the mesh, are hits of the vertex


def surface(mesh: NeuralMesh) -> Mesh:
    """Return a neural mesh as one that can be rendered."""
    return Mesh(mesh.vertices, mesh.faces, mesh.normals, np.zeros_like(mesh.vertices))


def visible_vertices(engine: RayEngine, number: int, mesh: NeuralMesh, directions: Tensor) -> Tensor:
    """Tell which vertices of a mesh are seen from far away in directions (D, 3).

    Args:
        engine: casts rays at the meshes.
        number: of the mesh in the engine.
        mesh: the mesh.
        directions: unit vectors from the object to the camera, shape (D, 3).

    Returns:
        (D, V) bool. Cuboids' vertices are seen where their face looks at the camera.
    """
    vertices = torch.from_numpy(mesh.vertices).to(engine.device)
    length = float((vertices.amax(dim=0) - vertices.amin(dim=0)).norm())
    toward = directions.to(engine.device)
    origins = vertices[None] + 2.0 * length * toward[:, None]
    rays = -toward[:, None].expand_as(origins)
    hits = engine.cast(number, origins.reshape(-1, 3), rays.reshape(-1, 3))
    reached = (hits.distance > (2.0 - _TOLERANCE) * length).reshape(len(directions), -1)
    # A grazing ray slips past the edge of a face that is turned away.
    facing = toward @ torch.from_numpy(mesh.normals).to(engine.device).T
    return reached & (facing.abs() > 0.02) if _has_inside(mesh) else reached & (facing > 0.0)


def _has_inside(mesh: NeuralMesh) -> bool:
    """Tell whether normals of a mesh point inwards as well: where it is hollow, or a scan of thin walls."""
    centre = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2.0
    return bool((((mesh.vertices - centre) * mesh.normals).sum(axis=1) < 0.0).any())


def mesh_table(
    meshes: Sequence[NeuralMesh], owner: Sequence[int], directions: int, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Return the fields of a `MeshTable` for meshes (M) that belong to objects (M)."""
    engine = make_engine([surface(mesh) for mesh in meshes], device=device)
    toward = torch.from_numpy(even_directions(directions))
    most_vertices = max(len(mesh.vertices) for mesh in meshes)
    most_faces = max(len(mesh.faces) for mesh in meshes)

    def filled(values: np.ndarray, length: int) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], length - len(values), axis=0)])

    visible = torch.zeros(len(meshes), directions, most_vertices, dtype=torch.uint8)
    is_real = torch.zeros(len(meshes), most_vertices, dtype=torch.uint8)
    for number, mesh in enumerate(meshes):
        visible[number, :, : len(mesh.vertices)] = visible_vertices(engine, number, mesh, toward).cpu().to(torch.uint8)
        is_real[number, : len(mesh.vertices)] = 1
    return {
        "owner": torch.tensor(owner, dtype=torch.int64),
        "vertices": torch.from_numpy(np.stack([filled(mesh.vertices, most_vertices) for mesh in meshes])),
        "normals": torch.from_numpy(np.stack([filled(mesh.normals, most_vertices) for mesh in meshes])),
        "faces": torch.from_numpy(np.stack([filled(mesh.faces, most_faces) for mesh in meshes])),
        "outline": torch.from_numpy(np.stack([mesh.outline for mesh in meshes])),
        "is_real": is_real,
        "directions": toward,
        "visible": visible,
    }
