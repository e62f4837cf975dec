"""Images of the demo that no network was trained on, with poses to refine and the true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.bundle import load_bundle

BUNDLE = load_bundle("demo")


@dataclass(frozen=True)
class Scene:
    """A frame, its objects that are well visible, and where they are thought to be."""

    frame: Frame
    detections: list[Detection]
    hypotheses: list[PoseHypothesis]
    truths: list[np.ndarray]


def scene_of(dataset: BopDataset, number: int, degrees: float) -> Scene:
    """Return an image with poses that are turned by so much, moved, and 5 % too near or too far."""
    image = dataset.images[number]
    generator = np.random.default_rng(number)
    detections, hypotheses, truths = [], [], []
    for truth in image.ground_truth:
        index = BUNDLE.catalog.index_of_id(truth.object_id)
        if index is None or truth.visibility < 0.7:
            continue
        pose = truth.camera_from_object.copy()
        axis = generator.normal(size=3)
        turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
        pose[:3, :3] = turn @ pose[:3, :3]
        pose[:3, 3] *= 1.0 + generator.choice([-0.05, 0.05])
        pose[:2, 3] += generator.normal(0.0, 0.03 * BUNDLE.catalog[index].diameter_m, 2)
        hypotheses.append(PoseHypothesis(index, len(detections), pose, 0.0))
        assert truth.box_full is not None
        detections.append(Detection(index, 0.9, np.asarray(truth.box_full, dtype=np.float64)))
        truths.append(truth.camera_from_object)
    return Scene(dataset.frame(image), detections, hypotheses, truths)
