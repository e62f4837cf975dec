"""Short trainings in copies of a bundle, for benchmarks that compare recipes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle
from pose_estimation_ros.training.trainer import TrainingRun


def trained(
    source: str,
    folder: Path,
    role: str,
    train: Callable[[TrainingRun, Any], Bundle],
    recipe: BaseModel,
    mesh_dir: Path,
    device: str = "cpu",
) -> Path:
    """Train a network in a copy of a bundle, or go on with it; what is finished is not trained again.

    Args:
        source: the bundle, which stays as it is.
        folder: keeps the copy and the checkpoint. Trainings in neighbouring folders share their views.
        role: the network's name in the bundle.
        train: what trains it.
        recipe: how.
        mesh_dir: where the bundle's meshes are.
        device: where it runs.

    Returns:
        Where the copy is.

    Raises:
        SystemExit: if the training was interrupted.
    """
    (folder.parent / "pix2pose").mkdir(parents=True, exist_ok=True)  # where trainings share their views
    copy = folder.with_name(f"bundle_{folder.name}")
    if not copy.is_dir():
        shutil.copytree(find_bundle(source), copy)
    made = load_bundle(copy).networks.get(role)
    was = made.training if made is not None else {}
    if was.get("finished") and was.get("recipe") == recipe.model_dump(mode="json"):
        return copy
    run = TrainingRun(bundle=load_bundle(copy), folder=folder, device=device, mesh_dir=mesh_dir, resume=True)
    if not train(run, recipe).network(role).training["finished"]:
        raise SystemExit("interrupted; the same command goes on")
    return copy
