"""A small ray tracer for scenes of many bodies: one area light, sky light, soft shadows, highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d

from pose_estimation_ros.geometry.camera import Camera

LAMP_M = np.array([0.55, -0.45, 1.15])  # centre of a square lamp
LAMP_SIDE_M = 0.35
LAMP_COLOR = np.array([0.82, 0.78, 0.70])
SKY_COLOR = np.array([0.55, 0.58, 0.63])
SKY_REACH_M = 0.35  # bodies farther away do not darken the sky
EPSILON_M = 2e-4


@dataclass(frozen=True)
class Body:
    """A mesh in the world with colours per vertex, or a texture that lies on it as seen from above."""

    vertices: np.ndarray  # (V, 3) metres, world
    faces: np.ndarray  # (F, 3)
    normals: np.ndarray  # (V, 3)
    colors: np.ndarray  # (V, 3) in [0, 1]
    gloss: float = 0.0
    texture: np.ndarray | None = None  # (H, W, 3) in [0, 1], over the body's extent in x and y


def plate(
    low: tuple[float, float], high: tuple[float, float], height: float, texture: np.ndarray, gloss: float = 0.0
) -> Body:
    """Make a horizontal rectangle with a texture."""
    (x0, y0), (x1, y1) = low, high
    vertices = np.array([[x0, y0, height], [x1, y0, height], [x1, y1, height], [x0, y1, height]])
    up = np.tile([0.0, 0.0, 1.0], (4, 1))
    return Body(vertices, np.array([[0, 1, 2], [0, 2, 3]]), up, np.ones((4, 3)), gloss, texture)


def solid(kind: str, color: tuple[float, float, float], low, high, gloss: float) -> Body:
    """Make a one-coloured `box` or `ball` that fills a box."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    make = open3d.geometry.TriangleMesh
    mesh = make.create_box() if kind == "box" else make.create_sphere(0.5, 40)
    if kind == "box":  # corners of their own for every face keep the edges sharp
        corners = np.asarray(mesh.triangles)
        mesh = make(
            open3d.utility.Vector3dVector(np.asarray(mesh.vertices)[corners.ravel()]),
            open3d.utility.Vector3iVector(np.arange(corners.size).reshape(-1, 3)),
        )
    vertices = np.asarray(mesh.vertices) + (0.0 if kind == "box" else 0.5)
    mesh.vertices = open3d.utility.Vector3dVector(low + vertices * (high - low))
    mesh.compute_vertex_normals()
    points = np.asarray(mesh.vertices)
    return Body(
        points, np.asarray(mesh.triangles), np.asarray(mesh.vertex_normals), np.tile(color, (len(points), 1)), gloss
    )


class Scene:
    """All bodies in one ray-casting scene."""

    def __init__(self, bodies: list[Body]) -> None:
        self._bodies = bodies
        self._scene = _scene_of(bodies)
        self._alone = [_scene_of([body]) for body in bodies]

    def render(
        self, camera: Camera, camera_from_world: np.ndarray, samples: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Render an image (H, W, 3), not clipped, from samples x samples rays a pixel."""
        total = np.zeros((camera.height * camera.width, 3))
        for row in range(samples):
            for column in range(samples):
                jitter = (np.array([column, row]) + generator.random(2)) / samples - 0.5
                origins, directions = _rays(camera, camera_from_world, jitter)
                total += self._radiance(origins, directions, generator)
        return (total / samples**2).reshape(camera.height, camera.width, 3)

    def masks(self, camera: Camera, camera_from_world: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return visible and full silhouettes, (count, H, W) bool each, of the first bodies."""
        origins, directions = _rays(camera, camera_from_world, np.zeros(2))
        owner = _cast(self._scene, origins, directions)["geometry_ids"].numpy()
        shape = (count, camera.height, camera.width)
        visible = np.stack([owner == index for index in range(count)])
        full = np.stack(
            [np.isfinite(_cast(self._alone[index], origins, directions)["t_hit"].numpy()) for index in range(count)]
        )
        return visible.reshape(shape), full.reshape(shape)

    def _radiance(self, origins: np.ndarray, directions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        answer = _cast(self._scene, origins, directions)
        distance, owner = answer["t_hit"].numpy(), answer["geometry_ids"].numpy()
        face, uv = answer["primitive_ids"].numpy(), answer["primitive_uvs"].numpy()
        light = np.tile(SKY_COLOR * 0.6, (len(origins), 1))
        points = origins + np.where(np.isfinite(distance), distance, 0.0)[:, None] * directions
        for index, body in enumerate(self._bodies):
            chosen = np.flatnonzero(owner == index)
            if not len(chosen):
                continue
            normals, albedo = _surface(body, face[chosen].astype(int), uv[chosen], points[chosen])
            facing = np.sum(normals * directions[chosen], axis=1, keepdims=True)
            normals = np.where(facing > 0, -normals, normals)
            light[chosen] = self._shade(points[chosen], normals, directions[chosen], albedo, body.gloss, generator)
        return light

    def _shade(self, points, normals, directions, albedo, gloss, generator) -> np.ndarray:
        start = points + EPSILON_M * 3 * normals
        lamp = LAMP_M + LAMP_SIDE_M * np.column_stack([generator.random((len(points), 2)) - 0.5, np.zeros(len(points))])
        to_lamp = lamp - start
        reach = np.linalg.norm(to_lamp, axis=1, keepdims=True)
        to_lamp = to_lamp / reach
        lit = ~self._blocked(start, to_lamp, reach[:, 0])
        falloff = (np.linalg.norm(LAMP_M) / reach[:, 0]) ** 2
        strength = (lit * falloff)[:, None] * LAMP_COLOR
        noise = generator.normal(size=points.shape)
        skyward = normals + 0.999 * noise / np.linalg.norm(noise, axis=1, keepdims=True)  # Lambert's distribution
        skyward /= np.linalg.norm(skyward, axis=1, keepdims=True)
        sky = ~self._blocked(start, skyward, np.full(len(points), SKY_REACH_M))
        bounce = np.where(sky, 1.0, 0.35)[:, None] * SKY_COLOR * (0.75 + 0.25 * normals[:, 2:])
        cosine = np.clip(np.sum(normals * to_lamp, axis=1, keepdims=True), 0, None)
        half = to_lamp - directions / np.linalg.norm(directions, axis=1, keepdims=True)
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        glint = np.clip(np.sum(normals * half, axis=1, keepdims=True), 0, None) ** 40
        return albedo * (bounce + strength * cosine) + gloss * strength * glint

    def _blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray) -> np.ndarray:
        return _cast(self._scene, origins, directions)["t_hit"].numpy() < reach - EPSILON_M


def _scene_of(bodies: list[Body]) -> open3d.t.geometry.RaycastingScene:
    scene = open3d.t.geometry.RaycastingScene()
    for body in bodies:
        scene.add_triangles(
            open3d.core.Tensor(body.vertices.astype(np.float32)), open3d.core.Tensor(body.faces.astype(np.uint32))
        )
    return scene


def _cast(scene: open3d.t.geometry.RaycastingScene, origins: np.ndarray, directions: np.ndarray) -> dict:
    rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
    return scene.cast_rays(open3d.core.Tensor(rays))


def _rays(camera: Camera, camera_from_world: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return origins and directions (H * W, 3) in the world; offset (2,) is in pixels from the pixel centres."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    pixels = np.column_stack([u.ravel() + offset[0], v.ravel() + offset[1]])
    directions = camera.unproject(pixels, np.ones(len(pixels))) @ camera_from_world[:3, :3]
    eye = -camera_from_world[:3, :3].T @ camera_from_world[:3, 3]
    return np.tile(eye, (len(directions), 1)), directions


def _surface(body: Body, face: np.ndarray, uv: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weights = np.column_stack([1.0 - uv.sum(axis=1), uv])[..., None]
    corners = body.faces[face]
    normals = np.sum(body.normals[corners] * weights, axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    if body.texture is None:
        return normals, np.sum(body.colors[corners] * weights, axis=1)
    low, high = body.vertices[:, :2].min(axis=0), body.vertices[:, :2].max(axis=0)
    share = np.clip((points[:, :2] - low) / (high - low), 0, 1)
    height, width = body.texture.shape[:2]
    column, row = np.round(share * [width - 1, height - 1]).astype(int).T
    return normals, body.texture[row, column]
