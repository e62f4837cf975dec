"""The training of the detector: Mask R-CNN with a class for every object."""

from __future__ import annotations

from pose_estimation_ros.methods.mask_rcnn.detector import ROLE
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.scene_training import TINY_RECIPE, DetectorRecipe, Target, train_on_objects
from pose_estimation_ros.training.trainer import TrainingRun
from pose_estimation_ros.training.trial import Trial


def train_detector(run: TrainingRun, recipe: DetectorRecipe) -> Bundle:
    """Train the detector on synthetic scenes of the bundle's objects and write its weights into the bundle."""
    return train_on_objects(run, recipe, Target(ROLE, len(run.bundle.catalog)))


TRIAL = Trial(TINY_RECIPE)
