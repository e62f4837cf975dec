"""How well the edges of objects at their poses lie on edges of a photograph, and poses moved so that they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pose_refinement import moved_pose, projection_jacobian
from pose_estimation_ros.labelling.model_edges import EdgeRenderer, ModelEdges

WIDTH_PX = 640  # larger photographs are reduced to it; edges there are not known better than to a pixel
REACH_PX = 10.0  # within which an edge of the photograph is looked for
_STEP_PX = 0.5  # between the places that are looked at
_BLUR_PX = 1.0  # standard deviation of the filter that finds edges
_FLOOR = 4.0  # grey levels a pixel that are an edge at least
_SHARE = 0.7  # of the strongest edge within reach, that another one has to have
_TRUSTED = 0.6  # share of the points, the nearest ones, that make the residual: what unknown things hide is left out
_MATCHED_PX = 2.0
_MIN_POINTS = 20  # fewer say nothing
_HIDDEN_M = 0.005  # by which another object is nearer where it hides one
_ALIGNMENTS_PX = (2.5, 1.5)  # standard deviations of where an edge is expected, one rendering each
_ALIGNMENT_STEPS = 3  # of Gauss and Newton, each
_PRIOR = 0.5  # weight of the pose as it came against that of all edges


@dataclass(frozen=True)
class EdgeFit:
    """How well the edges of a pose fit."""

    residual_px: float | None  # to the nearest edges of the photograph, in its pixels; None where too little is seen
    matched: float  # share of the visible edge that is within two pixels (of a reduced photograph) of another


def reduction(camera: Camera) -> float:
    """Return how many pixels of a photograph are one where its edges are checked."""
    return max(1.0, camera.width / WIDTH_PX)


class EdgeCheck:
    """The edges of one photograph.

    Args:
        frame: the photograph; its camera is not distorted.
        renderer: of the objects.
    """

    def __init__(self, frame: Frame, renderer: EdgeRenderer) -> None:
        self._renderer = renderer
        self.pixel = reduction(frame.camera)
        size = round(frame.camera.width / self.pixel), max(1, round(frame.camera.height / self.pixel))
        self._camera: Camera = frame.camera.resize(*size)
        small = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        blurred = cv2.GaussianBlur(small, (0, 0), _BLUR_PX)
        self._gradients = tuple(cv2.Sobel(blurred, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))

    def fits(self, objects: Sequence[tuple[int, np.ndarray]]) -> list[EdgeFit]:
        """Return how well objects fit, each a place in the catalog and a pose (4, 4); one may hide another."""
        drawn = [self._renderer.draw(index, pose, self._camera) for index, pose in objects]
        found = []
        for number, (_, pose) in enumerate(objects):
            others = _nearest([item.depth for other, item in enumerate(drawn) if other != number], self._camera)
            found.append(self._fit(_visible(drawn[number].edges, pose, others)))
        return found

    def _fit(self, edges: ModelEdges) -> EdgeFit:
        if len(edges) < _MIN_POINTS:
            return EdgeFit(None, 0.0)
        offsets, strength = self._profiles(edges.pixels, edges.normals, REACH_PX)
        distance = np.where(_peaks(strength, _SHARE), np.abs(offsets), REACH_PX).min(axis=1)
        trusted = np.sort(distance)[: max(1, round(_TRUSTED * len(distance)))]
        return EdgeFit(float(trusted.mean()) * self.pixel, float((distance <= _MATCHED_PX).mean()))

    def aligned(self, objects: Sequence[tuple[int, np.ndarray]]) -> list[np.ndarray]:
        """Return the poses (4, 4) of objects, moved a little so that their edges lie on those of the photograph."""
        depths = [self._renderer.draw(index, pose, self._camera).depth for index, pose in objects]
        found = []
        for number, (index, pose) in enumerate(objects):
            others = _nearest([depth for other, depth in enumerate(depths) if other != number], self._camera)
            found.append(self._aligned(index, pose, others))
        return found

    def _aligned(self, index: int, pose: np.ndarray, others: np.ndarray) -> np.ndarray:
        corners = self._renderer.corners[index]
        lever_m = 0.25 * float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0)))
        units = np.array([lever_m] * 3 + [0.5] * 3)  # so that metres and radians move the object about as far
        for deviation_px in _ALIGNMENTS_PX:
            edges = _visible(self._renderer.draw(index, pose, self._camera).edges, pose, others)
            if len(edges) < _MIN_POINTS:
                return pose
            projected, _ = self._projected(edges.points, pose)
            # An outline lies half a pixel beside the last point of the object.
            beside = ((edges.pixels - projected) * edges.normals).sum(axis=1, keepdims=True) * edges.normals
            for _ in range(_ALIGNMENT_STEPS):
                projected, jacobian = self._projected(edges.points, pose)
                residual, weight = self._matches(projected + beside, edges.normals, deviation_px)
                across = np.einsum("ni,jin->nj", edges.normals, jacobian) * units
                hessian = (across * weight[:, None]).T @ across
                prior = (_PRIOR * np.trace(hessian) / 6.0 + 1e-9) * np.eye(6)
                pose = moved_pose(pose, units * np.linalg.solve(hessian + prior, across.T @ (weight * residual)))
        return pose

    def _projected(self, points: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels (N, 2) of points (N, 3), and their derivatives (6, 2, N) by the pose."""
        rotated = pose[:3, :3] @ points.T
        in_camera = rotated + pose[:3, 3:]
        return self._camera.project(in_camera.T), projection_jacobian(self._camera.intrinsics, in_camera, rotated)

    def _matches(self, pixels: np.ndarray, normals: np.ndarray, deviation_px: float) -> tuple[np.ndarray, np.ndarray]:
        """Return where across the edges the likeliest match is (N,), and what it weighs (N,)."""
        reach = 2.5 * deviation_px
        offsets, strength = self._profiles(pixels, normals, reach)
        likely = _peaks(strength, 0.3) * strength * np.exp(-0.5 * (offsets / deviation_px) ** 2)
        chosen = offsets[likely.argmax(axis=1)]
        return chosen, (likely.max(axis=1) > 0.0) * (1.0 - (chosen / reach).clip(-1.0, 1.0) ** 2) ** 2

    def _profiles(self, pixels: np.ndarray, normals: np.ndarray, reach_px: float) -> tuple[np.ndarray, np.ndarray]:
        """Return offsets (K,) across edges, and how much the photograph changes there (N, K), grey levels a pixel."""
        offsets = np.arange(-reach_px, reach_px + 1e-6, _STEP_PX)
        places = (pixels[:, None] + offsets[None, :, None] * normals[:, None]).astype(np.float32)
        by_x, by_y = (
            cv2.remap(item, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            for item in self._gradients
        )
        along = normals[:, None, None].astype(np.float32)
        return offsets, np.abs(by_x * along[..., 0] + by_y * along[..., 1]).max(axis=-1)


def _peaks(strength: np.ndarray, share: float) -> np.ndarray:
    """Return which places of profiles (N, K) are edges: strongest about there, and a share of the strongest of all."""
    inner = strength[:, 1:-1]
    least = np.maximum(_FLOOR, share * strength.max(axis=1, keepdims=True))
    found = (inner >= strength[:, :-2]) & (inner > strength[:, 2:]) & (inner >= least)
    return np.pad(found, ((0, 0), (1, 1)))


def _nearest(depths: Sequence[np.ndarray], camera: Camera) -> np.ndarray:
    """Return the least depth (H, W) of objects, infinity where there is none."""
    return np.min([np.full((camera.height, camera.width), np.inf, dtype=np.float32), *depths], axis=0)


def _visible(edges: ModelEdges, pose: np.ndarray, others: np.ndarray) -> ModelEdges:
    """Keep the points that lie in the image and that no other object, of depth (H, W), hides."""
    height, width = others.shape
    column, row = np.round(edges.pixels).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = edges.points @ pose[2, :3] + pose[2, 3]
    before = others[row.clip(0, height - 1), column.clip(0, width - 1)]
    return edges.chosen(inside & (before > depth - _HIDDEN_M))
