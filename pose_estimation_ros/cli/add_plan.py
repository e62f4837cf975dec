"""What pose_add trains in a time: which networks, by which recipes, on how many samples."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pose_estimation_ros.cli.add_networks import is_generic, untrained_method
from pose_estimation_ros.cli.recipes import read_mapping, validated
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.trainer import TrainingRun

# Shares of the time. What works for any object gains little from a few minutes of training, boxes of new objects a lot.
_SHARES: Mapping[str, float] = {"detector": 0.5, "pix2pose": 0.35, "attention": 0.15}
ALL_FROM_S = 3600.0  # time from which poses are trained too where a backend and a refiner for any object are there
_PROPOSALS = "proposals"  # network from which a detector of new objects starts
_MEASURED_BATCHES = 4
_SLOWER = 0.85  # of the rate of a few batches, what lasts
_STARTS = {"initial": None, "initial_network": None, "encoder_from": None, "pretrained": None}


def shares(bundle: Bundle, seconds: float) -> dict[str, float]:
    """Return which networks are trained, and the share of the time for each."""
    done = {role for role in bundle.networks if is_generic(role)}
    if "pix2pose" not in bundle.networks and untrained_method("backend", bundle.networks) is not None:
        done.add("pix2pose")
    wanted = {role: share for role, share in _SHARES.items() if role not in done or seconds >= ALL_FROM_S}
    return {role: share / sum(wanted.values()) for role, share in wanted.items()}


def recipe_for(bundle: Bundle, role: str, photos: Path | None, recipes: Path | None = None) -> dict[str, Any]:
    """Return the recipe of a network: that which made the bundle's, going on from it, or the one for new objects.

    Args:
        bundle: has the network, or not.
        role: which one.
        photos: pictures for the backgrounds.
        recipes: folder with the recipes of new networks; config/train/add where absent.

    Raises:
        ValueError: if there is no recipe of the network.
    """
    entry = bundle.networks.get(role)
    fresh = read_mapping((recipes or _recipe_folder()) / f"{role}.yaml")
    content = dict(fresh) if recipes is not None else _from_proposals(bundle, role, fresh)
    training = find_training(role)
    model = training.recipe_model()
    if entry is not None:
        try:
            earlier = model.model_validate(entry.training.get("recipe", {})).model_dump(mode="json")
            content = {**earlier, **{name: value for name, value in _STARTS.items() if name in model.model_fields}}
        except ValidationError:  # of another version, or of weights that others made
            content |= {name: value for name, value in _STARTS.items() if name in model.model_fields}
            content["network"] = {key: value for key, value in entry.architecture.items() if key != "classes"}
        content["initial"] = str(bundle.path.resolve())
        # Views and backgrounds are those of this bundle, wherever the weights come from.
        content |= {name: fresh[name] for name in ("bank",) if name in fresh} | {"object_weights": {}}
    if photos is not None:
        content["bank"] = {**content.get("bank", {}), "background_folder": str(photos.resolve())}
    return content


def _from_proposals(bundle: Bundle, role: str, fresh: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of a detector that starts from the network that proposes things, if the bundle has it.

    That network's shape, and the sizes of things that it saw, are kept.
    """
    entry = bundle.networks.get(_PROPOSALS)
    if role != "detector" or entry is None:
        return dict(fresh)
    seen = entry.training.get("recipe", {}).get("scenes", {})
    sizes = {key: seen[key] for key in ("width", "height", "focal_px") if key in seen}
    return {
        **fresh,
        **dict.fromkeys(_STARTS),
        "initial": str(bundle.path.resolve()),
        "initial_network": _PROPOSALS,
        "network": {key: value for key, value in entry.architecture.items() if key != "classes"},
        "input_width": entry.input_size,
        "scenes": {**fresh.get("scenes", {}), **sizes},
    }


def with_samples(content: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Return a recipe for so many samples, with a warm-up and an average that suit them."""
    changed = dict(content)
    if content.get("stages"):
        whole = sum(stage["samples"] for stage in content["stages"])
        changed["stages"] = [
            {**stage, "samples": max(1, round(samples * stage["samples"] / whole))} for stage in content["stages"]
        ]
    else:
        changed["samples"] = samples
    changed["optimiser"] = {
        **content.get("optimiser", {}),
        "warmup_samples": max(1, samples // 20),
        "ema_samples": max(1, samples // 10),
        "snapshot_samples": 10**9,
    }
    return changed


def measured_rate(bundle: Bundle, role: str, content: Mapping[str, Any], work: Path, device: str) -> float:
    """Return how many samples a second a training sees on this machine; views that it renders are kept for later.

    Raises:
        KeyboardInterrupt: if the user interrupts.
        ValueError: if the recipe fails.
    """
    training = find_training(role)
    batch = content.get("optimiser", {}).get("batch") or training.recipe_model().model_fields["optimiser"].default.batch
    trial = {**with_samples(content, _MEASURED_BATCHES * batch), "workers": 0}
    recipe = validated(training.recipe_model(), trial, role)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        folder = Path(scratch) / "bundle"
        shutil.copytree(bundle.path, folder, ignore=shutil.ignore_patterns("report", "training"))
        run = TrainingRun(replace(bundle, path=folder), work / role, None, device)
        entry = training.function()(run, recipe).networks[role]
    (work / role / "checkpoint.pt").unlink(missing_ok=True)
    if not entry.training["finished"]:
        raise KeyboardInterrupt
    return _SLOWER * float(entry.training["samples"]) / max(float(entry.training["seconds"]), 0.5)


def _recipe_folder() -> Path:
    prefixes = [item for item in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if item]
    places = [Path(__file__).resolve().parents[2], *(Path(item) / "share" / "pose_estimation_ros" for item in prefixes)]
    for place in places:
        if (place / "config" / "train" / "add").is_dir():
            return place / "config" / "train" / "add"
    raise ValueError(f"config/train/add: no recipes in {', '.join(str(place) for place in places)}")
