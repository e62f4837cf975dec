"""The training of proposals: Mask R-CNN with one class, for which every thing in a scene is an object."""

from __future__ import annotations

from pose_estimation_ros.methods.proposals.detector import ROLE
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.scene_training import TINY_RECIPE, DetectorRecipe, Target, train_on_objects
from pose_estimation_ros.training.trainer import TrainingRun
from pose_estimation_ros.training.trial import Trial


def train_proposals(run: TrainingRun, recipe: DetectorRecipe) -> Bundle:
    """Train on scenes of foreign shapes and the bundle's objects, and write the weights into the bundle."""
    scenes = recipe.scenes.model_copy(update={"classes": "one"})
    return train_on_objects(run, recipe.model_copy(update={"scenes": scenes}), Target(ROLE, 1))


TRIAL = Trial(TINY_RECIPE, settings={"min_objectness": 0.0, "directions": 12, "roll_step_deg": 180.0})
