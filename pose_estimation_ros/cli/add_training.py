"""pose_add --minutes: train the networks of a bundle in a given time, and go on another day."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pose_estimation_ros.cli.add_plan import measured_rate, recipe_for, shares, with_samples
from pose_estimation_ros.cli.recipes import validated
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.bundle_file import entry_from_object
from pose_estimation_ros.training.progress import shared_bar
from pose_estimation_ros.training.trainer import TrainingRun

WORK = "training"  # folder of the bundle for checkpoints; not needed where objects are found
_PLAN = "plan.json"
_LEAST_S = 10.0
_FEW = 60.0  # seconds of training that teach nothing yet


def train_for(path: Path, minutes: float, photos: Path | None, device: str, recipes: Path | None = None) -> bool:
    """Train for so many minutes; what was interrupted goes on first.

    Args:
        path: of the bundle.
        minutes: how long, about.
        photos: pictures of the scene without the objects, as backgrounds.
        device: cpu or cuda.
        recipes: folder with recipes of new networks.

    Returns:
        Whether all of it was done; False after Ctrl-C, which leaves the best so far in the bundle.

    Raises:
        ValueError: if a recipe fails.
    """
    work = path / WORK
    (work / "pix2pose").mkdir(parents=True, exist_ok=True)  # the views that all trainings share
    plan = _unfinished(work, load_bundle(path))
    with shared_bar(minutes * 60.0):
        if plan is None:
            plan = _new_plan(path, minutes * 60.0, photos, device, recipes)
            _save(work, plan)
        else:
            left = ", ".join(task["role"] for task in plan["tasks"] if not task["finished"])
            tqdm.write(f"goes on with what was interrupted ({left}), as it was begun: for its minutes and photos")
        for task in plan["tasks"]:
            if not task["finished"] and not _train(path, task, work, device):
                return False
            task["finished"] = True
            _save(work, plan)
    return True


def _new_plan(path: Path, seconds: float, photos: Path | None, device: str, recipes: Path | None) -> dict[str, Any]:
    """Measure how fast the trainings are, and share the rest of the time out."""
    bundle, started = load_bundle(path), time.monotonic()
    contents, rates = {}, {}
    for role in shares(bundle, seconds):
        contents[role] = recipe_for(bundle, role, photos, recipes)
        rates[role] = measured_rate(bundle, role, contents[role], path / WORK, device)
    left = max(seconds - (time.monotonic() - started), _LEAST_S)
    tasks = []
    for role, share in shares(bundle, seconds).items():
        samples = max(1, round(left * share * rates[role]))
        tqdm.write(f"{role}: {samples:,} samples in {left * share / 60.0:.1f} minutes ({rates[role]:.1f} a second)")
        if samples < _FEW * rates[role]:
            tqdm.write(f"{role}: that is too little for it to be of use; give more --minutes")
        tasks.append({"role": role, "recipe": with_samples(contents[role], samples), "finished": False})
    return {"objects": _objects(bundle), "tasks": tasks}


def _train(path: Path, task: dict[str, Any], work: Path, device: str) -> bool:
    """Train one network; return whether it was finished."""
    role = task["role"]
    training = find_training(role)
    recipe = validated(training.recipe_model(), task["recipe"], f"{work / _PLAN}: {role}")
    bundle = load_bundle(path)
    resume = (work / role / "checkpoint.pt").is_file()
    updated = training.function()(TrainingRun(replace(bundle), work / role, None, device, resume), recipe)
    if not updated.networks[role].training.get("finished"):
        return False
    (work / role / "checkpoint.pt").unlink(missing_ok=True)
    return True


def _unfinished(work: Path, bundle: Bundle) -> dict[str, Any] | None:
    """Return a plan that was interrupted, of the same objects."""
    file = work / _PLAN
    plan = json.loads(file.read_text()) if file.is_file() else None
    if plan is None or plan["objects"] != _objects(bundle) or all(task["finished"] for task in plan["tasks"]):
        for checkpoint in work.glob("*/checkpoint.pt"):
            checkpoint.unlink()
        return None
    return plan


def _objects(bundle: Bundle) -> list[dict[str, Any]]:
    return [entry_from_object(model).model_dump(mode="json") for model in bundle.catalog]


def _save(work: Path, plan: dict[str, Any]) -> None:
    temporary = work / f"{_PLAN}.part"
    temporary.write_text(json.dumps(plan, indent=1) + "\n")
    temporary.replace(work / _PLAN)
