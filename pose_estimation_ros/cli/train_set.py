"""pose_train --recipes: a whole bundle from a folder of recipes, one network after the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pose_estimation_ros.cli.recipe_set import OBJECTS_FILE, Recipe, read_objects, read_recipes
from pose_estimation_ros.cli.recipes import require_even_batch
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, load_bundle, save_bundle
from pose_estimation_ros.objects.bundle_file import entry_from_object
from pose_estimation_ros.objects.bundle_source import BundleSource
from pose_estimation_ros.training import processes
from pose_estimation_ros.training.checkpoint import checkpoint_samples, recipe_changes
from pose_estimation_ros.training.trainer import TrainingRun

_BEGUN = "begun.json"  # in a network's work folder: what its checkpoint is of
_CHECKPOINT = "checkpoint.pt"
_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C
_LONGEST = 500  # letters of a list of differences


@dataclass(frozen=True)
class Task:
    """What is left to do for a recipe."""

    recipe: Recipe
    folder: Path  # checkpoints and log
    state: Literal["finished", "interrupted", "new"]
    in_place_of: str = ""  # what a new training replaces

    def __str__(self) -> str:
        samples = f"{self.recipe.samples:,} samples"
        if self.state == "finished":
            return f"finished ({samples})"
        if self.state == "interrupted":
            return f"goes on after {checkpoint_samples(self.folder / _CHECKPOINT) or 0:,} of {samples}"
        return f"{samples}, in place of {self.in_place_of}" if self.in_place_of else samples


def train_set(
    folder: Path,
    path: Path | None,
    places: Mapping[str, Path | None],
    device: str,
    work_dir: Path | None = None,
    replaces: bool = False,
) -> int:
    """Make a bundle by the recipes of a folder: skip what is finished, go on with what was interrupted.

    Args:
        folder: of the recipes.
        path: of the bundle; models/NAME where absent, by the name of the folder.
        places: where `bop` or `categories` are, in place of what objects.yaml says.
        device: cpu or cuda.
        work_dir: checkpoints and logs, a folder for each network; runs/NAME where absent, by the name of the bundle.
        replaces: train anew what was trained by other recipes.

    Returns:
        The exit status: 0, or 130 after an interruption.

    Raises:
        ValueError: naming the file, if a recipe is bad or fails, the bundle has other objects than objects.yaml says,
            or a network of other recipes would have to be replaced.
    """
    source = read_objects(folder, places)
    path = Path("models") / folder.resolve().name if path is None else path
    recipes = read_recipes(folder, path)
    for recipe in recipes:
        require_even_batch(recipe.content, f"{recipe.file}: ")
    processes.require_shared(path.parent)
    bundle = processes.made_by_first(
        lambda: open_bundle(source, path, folder / OBJECTS_FILE), lambda: load_bundle(path)
    )
    work_dir = work_dir or Path("runs") / bundle.name
    processes.require_shared(work_dir)
    tasks = plan(recipes, bundle, work_dir)
    processes.wait()  # all have read what the first one is about to change
    print(f"{path}: {len(bundle.catalog)} objects, {len(tasks)} networks")
    for task in tasks:
        print(f"  {task.recipe.file.name}: {task}")
    for task in tasks:
        if task.in_place_of and not replaces:
            raise ValueError(
                f"{task.recipe.file}: would replace {task.in_place_of}; make another bundle (--bundle DIR), or say "
                "--replace to train it anew"
            )
    for task in tasks:
        if task.state != "finished" and not _run(task, path, source.meshes.mesh_dir, device):
            print(f"{task.recipe.file}: interrupted; the same command goes on")
            return _INTERRUPTED
    print(f"{path}: finished")
    return 0


def open_bundle(source: BundleSource, path: Path, file: Path) -> Bundle:
    """Load the bundle, or make it.

    Raises:
        ValueError: if it has other objects or another pose prior than the file says.
    """
    if not (path / BUNDLE_FILE).is_file():
        return source.make(path)
    bundle = load_bundle(path)
    changes = recipe_changes(_identity(bundle), _identity(source.describe(path)))
    if changes:
        raise ValueError(
            f"{path / BUNDLE_FILE}: has other objects than {file} ({'; '.join(changes)[:_LONGEST]}); make another "
            "bundle (--bundle DIR), or edit one of them"
        )
    return bundle


def _identity(bundle: Bundle) -> dict[str, Any]:
    """Return what networks are trained for; lengths, which were measured, in micrometres."""
    entries = [entry_from_object(model).model_dump(mode="json") for model in bundle.catalog]
    return {
        "pose_prior": bundle.pose_prior.model_dump(mode="json"),
        "objects": {str(number): _rounded(entry) for number, entry in enumerate(entries)},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def plan(recipes: list[Recipe], bundle: Bundle, work_dir: Path) -> list[Task]:
    """Tell for every recipe what is left to do, in their order.

    A network whose parent is not finished has to be trained after it, whatever there is of it.
    """
    tasks: list[Task] = []
    for recipe in recipes:
        unfinished = {task.recipe.training.role for task in tasks if task.state != "finished"}
        tasks.append(_task(recipe, bundle, work_dir / recipe.training.role, recipe.parent in unfinished))
    return tasks


def _task(recipe: Recipe, bundle: Bundle, folder: Path, parent_changes: bool) -> Task:
    role, origins = recipe.training.role, _origins(recipe, bundle)
    checkpoint = folder / _CHECKPOINT
    begun = checkpoint.is_file() and _is_of(folder / _BEGUN, recipe, origins) and not parent_changes
    if role not in bundle.networks:
        if begun:
            return Task(recipe, folder, "interrupted")
        return Task(recipe, folder, "new", f"{checkpoint}, of another training" if checkpoint.is_file() else "")
    training = bundle.networks[role].training
    finished, changes = bool(training.get("finished")), recipe.changes(training.get("recipe", {}))
    if finished and not changes and not parent_changes and training.get("starts_from", origins) == origins:
        return Task(recipe, folder, "finished")
    if begun:
        return Task(recipe, folder, "interrupted")
    if changes:
        what = f"has another recipe ({'; '.join(changes)[:_LONGEST]})"
    else:
        start = recipe.initial or recipe.parent
        what = f"started from another {start}" if finished else f"was interrupted and is not in {folder}"
    return Task(recipe, folder, "new", f"network {role!r} of {bundle.path}, which {what}")


def _origins(recipe: Recipe, bundle: Bundle) -> dict[str, str]:
    try:
        return recipe.origins(bundle)
    except ValueError as error:
        raise ValueError(f"{recipe.file}: {error}") from error


def _is_of(file: Path, recipe: Recipe, origins: dict[str, str]) -> bool:
    if not file.is_file():
        return False
    begun = json.loads(file.read_text())
    return begun["starts_from"] == origins and not recipe.changes(begun["recipe"])


def _run(task: Task, path: Path, mesh_dir: Path | None, device: str) -> bool:
    """Train a network; return whether it was finished."""
    recipe, role, bundle = task.recipe, task.recipe.training.role, load_bundle(path)
    origins = _origins(recipe, bundle)
    print(f"{recipe.file}: {recipe.samples:,} samples", flush=True)
    if task.state == "new" and processes.is_first():
        task.folder.mkdir(parents=True, exist_ok=True)
        (task.folder / _CHECKPOINT).unlink(missing_ok=True)
        begun = {"recipe": recipe.content.model_dump(mode="json"), "starts_from": origins}
        (task.folder / _BEGUN).write_text(json.dumps(begun, indent=1) + "\n")
    run = TrainingRun(bundle, task.folder, mesh_dir, device, resume=task.state == "interrupted")
    try:
        updated = recipe.training.function()(run, recipe.content)
    except (ValueError, OSError, FloatingPointError) as error:
        raise ValueError(f"{recipe.file}: {error}") from error
    except Exception:
        print(f"pose_train: {recipe.file} failed", file=sys.stderr)
        raise
    entry = updated.networks[role]
    entry = entry.model_copy(update={"training": {**entry.training, "starts_from": origins}})
    whole = replace(updated, networks={**updated.networks, role: entry})
    processes.made_by_first(lambda: save_bundle(whole), lambda: None)
    return bool(entry.training.get("finished"))
