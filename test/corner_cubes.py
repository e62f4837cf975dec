"""Cubes whose corners are seen, and methods that find them without a network: what tests of the pipeline share."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pnp import solve_pnp
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.pipeline import Pipeline

CAMERA = Camera(np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
BOUNDS = ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
CATALOG = Catalog(
    tuple(ObjectModel(number, name, 0.17, BOUNDS, Path("x.ply")) for number, name in enumerate(("mug", "brick"), 1))
)
BUNDLE = Bundle(Path("nowhere"), "test", CATALOG, {}, PosePrior())
CORNERS = 0.05 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
COLORS = np.array([[255, 10 + 34 * bit, 255 - 34 * bit] for bit in range(8)], dtype=np.uint8)


def random_pose(seed: int, x: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = [x, 0.02, 0.7]
    return pose


def corner_pixels(pose: np.ndarray, camera: Camera) -> np.ndarray:
    return camera.project(CORNERS @ pose[:3, :3].T + pose[:3, 3])


def frame_with_corners(poses: list[np.ndarray], camera: Camera = CAMERA, stamp_ns: int = 0) -> Frame:
    """Draw every corner of every cube as a small disc of its own colour, visible through the cube."""
    rgb = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[: camera.height, : camera.width]
    for pose in poses:
        for (u, v), color in zip(corner_pixels(pose, camera), COLORS, strict=True):
            rgb[(columns - u) ** 2 + (rows - v) ** 2 < 3.0**2] = color
    return Frame(rgb, camera, stamp_ns)


def box_of(pose: np.ndarray) -> np.ndarray:
    pixels = corner_pixels(pose, CAMERA)
    return np.concatenate([pixels.min(axis=0) - 4, pixels.max(axis=0) + 4])


class CornerBackend:
    """Finds the coloured corners in each crop, solves PnP with the crop's own camera."""

    crop_size = 256
    crop_padding = 1.2

    def __init__(self, score: float = 0.9, delay_s: float = 0.0) -> None:
        self.score, self.delay_s, self.calls = score, delay_s, 0

    def estimate(self, frame, crops, detections):
        self.calls += 1
        time.sleep(self.delay_s)
        hypotheses = []
        for row in range(len(crops)):
            image = 255 * crops.pixels[row].permute(1, 2, 0).numpy()
            seen = [np.argwhere(np.abs(image - color).max(axis=2) < 12) for color in COLORS]
            found = [bit for bit in range(8) if len(seen[bit])]
            pixels = np.array([seen[bit].mean(axis=0)[::-1] for bit in found]).reshape(-1, 2)
            result = solve_pnp(pixels, CORNERS[found], crops.camera[row].double().numpy(), threshold_px=5.0)
            if result is not None:
                hypotheses.append(
                    PoseHypothesis(
                        detections[row].object_index,
                        row,
                        result.camera_from_object,
                        self.score,
                        len(found),
                        result.covariance,
                    )
                )
        return hypotheses


class FixedDetector:
    def __init__(self, detections: list[Detection], delay_s: float = 0.0) -> None:
        self.detections, self.delay_s, self.thresholds = detections, delay_s, []

    def detect(self, frame, score_threshold, objects=None):
        self.thresholds.append(score_threshold)
        time.sleep(self.delay_s)
        return [item for item in self.detections if item.score >= score_threshold]


def pipeline_of(detections: list[Detection], backend=None, **options) -> Pipeline:
    return Pipeline(
        BUNDLE, backend=backend or CornerBackend(), device="cpu", detector=FixedDetector(detections), **options
    )


def assert_pose(found: np.ndarray, truth: np.ndarray, degrees: float = 1.5, metres: float = 0.01) -> None:
    assert math.degrees(Rotation.from_matrix(found[:3, :3].T @ truth[:3, :3]).magnitude()) < degrees
    assert np.linalg.norm(found[:3, 3] - truth[:3, 3]) < metres


class Keeping:
    """A refiner that is as sure as it is told."""

    def __init__(self) -> None:
        self.sure = True

    def refine(self, frame, detections, hypotheses, stages=None, thorough=True):
        share = 0.8 if self.sure else 0.1
        return [
            replace(
                item,
                camera_from_object=item.camera_from_object.copy(),
                score=share * detections[item.detection_index].score,
            )
            for item in hypotheses
        ]
