"""Where a mesh at a pose has edges in the image: outlines, creases, and borders of its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import RayCaster, Renders
from pose_estimation_ros.rendering.windows import corners_of, visible_window

_MARGIN_PX = 4  # about the object in the rendered window, so that its outline is whole
_DEPTH_STEP = 0.1  # jump of depth between neighbouring pixels that is an outline, in diagonals of the object's box
_CREASE = 0.25  # one less the cosine of the angle between normals two pixels apart: 41 degrees
_COLOR_STEP = 0.15  # of a colour in [0, 1], two pixels apart
_TANGENT_PX = 1.5  # standard deviation of the neighbourhood that tells the direction of an edge


@dataclass(frozen=True)
class ModelEdges:
    """N points on edges of a rendered object."""

    pixels: np.ndarray  # (N, 2) in the image
    normals: np.ndarray  # (N, 2) unit, across the edge
    points: np.ndarray  # (N, 3) metres, object frame
    is_outline: np.ndarray  # (N,) bool: the object ends there, or a part of it before another

    def __len__(self) -> int:
        return len(self.pixels)

    def chosen(self, rows: np.ndarray) -> ModelEdges:
        """Keep some of the points."""
        return ModelEdges(self.pixels[rows], self.normals[rows], self.points[rows], self.is_outline[rows])


@dataclass(frozen=True)
class Drawn:
    """What of the image an object covers."""

    depth: np.ndarray  # (H, W) metres along the optical axis, infinity where it is not
    edges: ModelEdges


class EdgeRenderer:
    """Renders objects and finds their edges.

    Args:
        meshes: of the objects of a catalog, in its order.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        self.caster = RayCaster(list(meshes))
        self.corners = [corners_of(mesh) for mesh in meshes]  # (8, 3) of the box of each, metres

    def draw(self, index: int, pose: np.ndarray, camera: Camera) -> Drawn:
        """Render an object.

        Args:
            index: which one.
            pose: camera from object (4, 4), metres.
            camera: without distortion.
        """
        depth = np.full((camera.height, camera.width), np.inf, dtype=np.float32)
        corners = self.corners[index]
        window = visible_window(corners @ pose[:3, :3].T + pose[:3, 3], camera)
        if window is None:
            nothing = np.zeros((0, 2))
            return Drawn(depth, ModelEdges(nothing, nothing, np.zeros((0, 3)), np.zeros(0, dtype=bool)))
        x, y, width, height = window
        x, y, width, height = x - _MARGIN_PX, y - _MARGIN_PX, width + 2 * _MARGIN_PX, height + 2 * _MARGIN_PX
        renders = self.caster.render(
            torch.tensor([index]),
            torch.from_numpy(pose)[None],
            torch.from_numpy(camera.crop(x, y, width, height).intrinsics)[None],
            height,
            width,
        )
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, camera.width), min(y + height, camera.height)
        own = renders.depth[0].numpy()
        own = np.where(own > 0.0, own, np.inf)
        depth[top:bottom, left:right] = own[top - y : bottom - y, left - x : right - x]
        edges = _edges(renders, own, _DEPTH_STEP * float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0))))
        return Drawn(depth, replace(edges, pixels=edges.pixels + np.array([x, y])))


def _edges(renders: Renders, depth: np.ndarray, step_m: float) -> ModelEdges:
    """Find the edges of a rendering, in its pixels."""
    normal, color, point = (
        item[0].permute(1, 2, 0).cpu().numpy() for item in (renders.normals, renders.colors, renders.coordinates)
    )
    pixels, points, outline = [], [], []
    for axis in (0, 1):
        first, second = _outline(depth, step_m, axis)
        nearer = np.where((depth[tuple(first.T)] <= depth[tuple(second.T)])[:, None], first, second)
        pixels.append((first + second)[:, ::-1] / 2.0)
        points.append(point[tuple(nearer.T)])
        outline.append(np.ones(len(first), dtype=bool))
        inner = _ridges(depth, normal, color, step_m, axis)
        pixels.append(inner[:, ::-1].astype(np.float64))
        points.append(point[tuple(inner.T)])
        outline.append(np.zeros(len(inner), dtype=bool))
    joined = np.concatenate(pixels)
    is_outline = np.concatenate(outline)
    by_outline, by_inner = (_across(joined, chosen, depth.shape) for chosen in (is_outline, ~is_outline))
    normals = np.where(is_outline[:, None], by_outline, by_inner)
    return ModelEdges(joined, normals, np.concatenate(points).astype(np.float64), is_outline)


def _outline(depth: np.ndarray, step_m: float, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (N, 2), row and column, on both sides of jumps of depth along an axis."""
    before, after = _shifted(depth, axis, 1)
    with np.errstate(invalid="ignore"):
        jumps = np.abs(before - after) > step_m  # nothing less nothing is no number, and no jump
    first = np.argwhere(jumps)
    return first, first + np.eye(2, dtype=np.int64)[axis]


def _ridges(depth: np.ndarray, normal: np.ndarray, color: np.ndarray, step_m: float, axis: int) -> np.ndarray:
    """Return the pixels (N, 2), row and column, where the surface bends or changes its colour along an axis."""
    before, after = _shifted(depth, axis, 2)
    with np.errstate(invalid="ignore"):
        smooth = np.abs(before - after) < step_m
    bend = 1.0 - (np.multiply(*_shifted(normal, axis, 2))).sum(axis=-1)
    change = np.abs(np.subtract(*_shifted(color, axis, 2))).max(axis=-1)
    strength = np.maximum(bend / _CREASE, change / _COLOR_STEP) * smooth
    left, right = _shifted(strength, axis, 2)
    pad = [(2, 2) if number == axis else (0, 0) for number in (0, 1)]
    middle = strength[1:-1] if axis == 0 else strength[:, 1:-1]
    return np.argwhere(np.pad((middle > 1.0) & (middle >= left) & (middle > right), pad))


def _shifted(values: np.ndarray, axis: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image without its last and without its first rows (columns): pairs of pixels `step` apart."""
    return (values[:-step], values[step:]) if axis == 0 else (values[:, :-step], values[:, step:])


def _across(pixels: np.ndarray, chosen: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the directions (N, 2) across the edges that some of the pixels (N, 2) draw, from their neighbourhoods."""
    scale = 2  # pixels lie at halves
    drawn = np.zeros((scale * shape[0], scale * shape[1]), dtype=np.float32)
    places = np.round(scale * pixels).astype(int)
    drawn[places[chosen, 1], places[chosen, 0]] = 1.0
    blurred = cv2.GaussianBlur(drawn, (0, 0), scale * _TANGENT_PX)
    by_x, by_y = (cv2.Sobel(blurred, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, xy, yy = (
        cv2.GaussianBlur(item, (0, 0), scale * _TANGENT_PX)[places[:, 1], places[:, 0]]
        for item in (by_x * by_x, by_x * by_y, by_y * by_y)
    )
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)  # of the structure tensor's largest eigenvector
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float64)
