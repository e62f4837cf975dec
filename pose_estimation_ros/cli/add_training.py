"""pose_add --minutes: train the networks of a bundle in a given time, and go on another day."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pose_estimation_ros.cli.add_growth import Look, look_cost_s, look_shares, look_words
from pose_estimation_ros.cli.add_look import best_so_far
from pose_estimation_ros.cli.add_plan import measured_rate, recipe_for, shares, with_samples
from pose_estimation_ros.cli.recipes import validated
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.bundle_file import entry_from_object
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.progress import shared_bar
from pose_estimation_ros.training.trainer import TrainingRun

WORK = "training"  # folder of the bundle for checkpoints; not needed where objects are found
_PLAN = "plan.json"
_LEAST_S = 10.0
_FEW = 60.0  # seconds of training that teach nothing yet


def train_for(path: Path, minutes: float, photos: Path | None, device: str, recipes: Path | None = None) -> bool:
    """Train for so many minutes, and see now and then what it is worth; what was interrupted goes on first.

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
            if not _follow(path, plan, task, device):
                return False
    return True


def looks_of(path: Path) -> list[Look]:
    """Return what was seen while a bundle was trained the last time."""
    file = path / WORK / _PLAN
    return [Look(**item) for item in json.loads(file.read_text()).get("looks", [])] if file.is_file() else []


def _new_plan(path: Path, seconds: float, photos: Path | None, device: str, recipes: Path | None) -> dict[str, Any]:
    """Measure how fast the trainings are, and share the rest of the time out."""
    bundle, started = load_bundle(path), time.monotonic()
    contents, rates = {}, {}
    for role in shares(bundle, seconds):
        contents[role] = recipe_for(bundle, role, photos, recipes)
        rates[role] = measured_rate(bundle, role, contents[role], path / WORK, device)
    measured_s = time.monotonic() - started
    left = max(seconds - measured_s, _LEAST_S)
    looks = look_shares(seconds, left)
    left -= len(looks) * look_cost_s(seconds)
    tasks, before = list[dict[str, Any]](), 0.0
    for role, share in shares(bundle, seconds).items():
        samples = max(1, round(left * share * rates[role]))
        tqdm.write(f"{role}: {samples:,} samples in {left * share / 60.0:.1f} minutes ({rates[role]:.1f} a second)")
        if samples < _FEW * rates[role]:
            tqdm.write(f"{role}: that is too little for it to be of use; give more --minutes")
        tasks.append(
            {
                "role": role,
                "recipe": with_samples(contents[role], samples),
                "finished": False,
                "samples": 0,
                "seconds": 0,
                "looks_at": _pauses(looks, before, share, samples),
            }
        )
        before += share
    return {
        "objects": _objects(bundle),
        "minutes": seconds / 60.0,
        "photos": None if photos is None else str(photos.resolve()),
        "measured_s": measured_s,
        "tasks": tasks,
        "looks": [],
    }


def _pauses(looks: Sequence[float], before: float, share: float, samples: int) -> list[dict[str, Any]]:
    """Return the looks that fall into one training, and after how many of its samples.

    Args:
        looks: after which shares of all training.
        before: share that was trained before.
        share: of this training.
        samples: of it.
    """
    return [
        {"samples": max(1, round(samples * (look - before) / share)), "share": look}
        for look in looks
        if before < look <= before + share
    ]


def _follow(path: Path, plan: dict[str, Any], task: dict[str, Any], device: str) -> bool:
    """Train one network, looking at the bundle now and then; return False if the user interrupted."""
    work = path / WORK
    while not task["finished"]:
        pauses = task.get("looks_at", [])
        pause = Pause(pauses[0]["samples"]) if pauses else None
        if pause is None or task["samples"] < pause.at_samples:  # otherwise it was interrupted in that look
            training = _train(path, task, work, device, pause)
            task |= {key: training[key] for key in ("finished", "samples", "seconds")}
            _save(work, plan)
            if not task["finished"] and not (pause is not None and pause.reached):
                return False
        if pauses:
            if not _look(path, plan, task["role"], pauses[0]["share"], task["samples"], device):
                return False
            pauses.pop(0)
            _save(work, plan)
    (work / task["role"] / "checkpoint.pt").unlink(missing_ok=True)
    return True


def _train(path: Path, task: dict[str, Any], work: Path, device: str, pause: Pause | None) -> dict[str, Any]:
    """Train one network until it is done, paused or interrupted; return what the bundle says of the training."""
    role = task["role"]
    training = find_training(role)
    recipe = validated(training.recipe_model(), task["recipe"], f"{work / _PLAN}: {role}")
    resume = (work / role / "checkpoint.pt").is_file()
    run = TrainingRun(load_bundle(path), work / role, None, device, resume, pause)
    return training.function()(run, recipe).networks[role].training


def _look(path: Path, plan: dict[str, Any], network: str, share: float, samples: int, device: str) -> bool:
    """Try what was learnt so far and say it; return False if the user interrupted."""
    minutes, looks = plan["minutes"], [Look(**item) for item in plan["looks"]]
    spent_s = sum([plan["measured_s"], *(task["seconds"] for task in plan["tasks"]), *(look.seconds for look in looks)])
    photos = None if plan["photos"] is None else Path(plan["photos"])
    started = time.monotonic()
    try:
        count = looks[0].scenes if looks else None
        best = best_so_far(path, photos, device, look_cost_s(60.0 * minutes), count)
    except KeyboardInterrupt:  # nothing is lost; the look is made when the training goes on
        return False
    if best is None:
        tqdm.write(f"after {spent_s / 60.0:.1f} of {minutes:g} minutes: no network for poses yet, so nothing is found")
        return True
    looks.append(
        Look(
            minutes=spent_s / 60.0,
            share=share,
            network=network,
            samples=samples,
            detector=best.detector,
            backend=best.backend,
            scenes=best.scenes,
            objects=int(best.visible.sum()),
            found=best.found,
            wrong=best.wrong_of_a_scene,
            seconds=time.monotonic() - started,
        )
    )
    plan["looks"] = [asdict(look) for look in looks]
    tqdm.write(look_words(looks, minutes))
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
