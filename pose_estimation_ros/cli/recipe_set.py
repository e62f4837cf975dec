"""A folder of recipes from which a whole bundle is made.

It holds `objects.yaml`, which says what the bundle is before it has networks, and one recipe for each network, such as
`1_pix2pose.yaml`: a number for the order, and the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pose_estimation_ros.cli.recipes import read_mapping, read_recipe, validated
from pose_estimation_ros.methods.base import Training
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle
from pose_estimation_ros.objects.bundle_source import BundleSource
from pose_estimation_ros.training.checkpoint import recipe_changes

OBJECTS_FILE = "objects.yaml"
_NO_MATTER = ("workers",)  # keys of recipes that do not change what is made


@dataclass(frozen=True)
class Recipe:
    """One file of the folder."""

    file: Path
    training: Training
    content: Any  # of the training's recipe model

    @property
    def parent(self) -> str | None:
        """The network of the bundle that this one starts from, if it is there; none where `initial` does instead."""
        return None if self.initial is not None else getattr(self.content, "encoder_from", None)

    @property
    def initial(self) -> str | None:
        """The other bundle whose network gives the first weights."""
        return getattr(self.content, "initial", None)

    @property
    def samples(self) -> int:
        """How many samples the training sees."""
        stages = getattr(self.content, "stages", None)
        return sum(stage.samples for stage in stages) if stages else self.content.samples

    def origins(self, bundle: Bundle) -> dict[str, str]:
        """Return the sha256 of the weights that the training starts from, by their network.

        Raises:
            BundleError: if the other bundle is not there or lacks the network.
        """
        found = {}
        if self.parent is not None and self.parent in bundle.networks:
            found[self.parent] = bundle.networks[self.parent].sha256
        if self.initial is not None:
            role = self.training.role
            found[f"{self.initial}/{role}"] = load_bundle(self.initial).network(role).sha256
        return found

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """Say in which keys an earlier recipe was another one."""
        try:  # what was written before a key existed has its default
            before = type(self.content).model_validate(before).model_dump(mode="json")
        except ValidationError:
            before = dict(before)
        return recipe_changes(before, self.content.model_dump(mode="json"), _NO_MATTER)


def read_objects(folder: Path, places: Mapping[str, Path | None]) -> BundleSource:
    """Read what a bundle is before it has networks.

    Args:
        folder: has the file; paths in it are relative to the folder.
        places: where `bop` or `categories` are, in place of what the file says.

    Raises:
        ValueError: if the file is missing or bad, or takes its meshes from elsewhere than the places say.
    """
    file = folder / OBJECTS_FILE
    if not file.is_file():
        raise ValueError(f"{file}: not found; it says what objects the recipes are for (see config/train/lmo)")
    source = validated(BundleSource, read_mapping(file), str(file))
    meshes = source.meshes.below(folder)
    for name, place in places.items():
        if place is None:
            continue
        if getattr(meshes, name) is None:
            raise ValueError(f"--{name}: {file} takes its meshes from elsewhere")
        meshes = meshes.model_copy(update={name: place})
    return source.model_copy(update={"meshes": meshes})


def read_recipes(folder: Path, path: Path) -> list[Recipe]:
    """Read the recipes of a folder in order.

    Args:
        folder: has them.
        path: of the bundle that they make.

    Raises:
        ValueError: naming the file, if it is none, or starts from what it makes.
    """
    found: dict[str, Recipe] = {}
    for file in sorted(folder.glob("*.yaml"), key=lambda item: (_number(item), item.name)):
        if file.name == OBJECTS_FILE:
            continue
        if _number(file) < 0:
            raise ValueError(f"{file}: expected a name such as 1_pix2pose.yaml, or {OBJECTS_FILE}")
        recipe = _recipe(file, path)
        training = recipe.training
        if training.role in found:
            raise ValueError(f"{file}: {found[training.role].file.name} makes network {training.role!r} already")
        found[training.role] = recipe
    if not found:
        raise ValueError(f"{folder}: no recipes; expected names such as 1_pix2pose.yaml")
    return list(found.values())


def _number(file: Path) -> int:
    match = re.match(r"(\d+)_", file.name)
    return int(match.group(1)) if match else -1


def _recipe(file: Path, path: Path) -> Recipe:
    """Read one recipe for the bundle at a path; errors name the file."""
    try:
        training = find_training(file.stem.partition("_")[2])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    recipe = Recipe(file, training, read_recipe(training, file))
    try:
        _refuse_itself(recipe, path)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return recipe


def _refuse_itself(recipe: Recipe, path: Path) -> None:
    if recipe.initial is None:
        return
    if Path(recipe.initial).name == path.resolve().name or find_bundle(recipe.initial).resolve() == path.resolve():
        raise ValueError(
            f"initial = {recipe.initial!r} is the bundle that the recipe makes, which could then never be made again; "
            "begin with nothing, or with another bundle"
        )
