"""Whatever lies in a scene is taught, and all of it is of one class."""

from __future__ import annotations

from pathlib import Path

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.methods.proposals.training import TRIAL, train_proposals
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.training.scene_training import DetectorRecipe
from pose_estimation_ros.training.trainer import TrainingRun


def test_objects_and_foreign_shapes_are_of_one_class(tiny_bop: Path, tmp_path: Path):
    """Two objects in the bundle and none in the scenes: what is learned from is foreign."""
    bundle = Bundle(tmp_path / "bundle", "two", BopDataset(tiny_bop).catalog, {}, PosePrior(), meshes=None)
    save_bundle(bundle)
    scenes = {**TRIAL.recipe["scenes"], "objects": [0, 0], "clutter": [3, 3]}
    recipe = DetectorRecipe.model_validate({**TRIAL.recipe, "scenes": scenes})
    train_proposals(TrainingRun(bundle, tmp_path / "run", tiny_bop / "models"), recipe)
    entry = load_bundle(bundle.path).network("proposals")
    assert entry.architecture["classes"] == 1
    assert entry.training["recipe"]["scenes"]["classes"] == "one"
