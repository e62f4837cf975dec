"""Recipes: YAML files that decide everything a training does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pose_estimation_ros.methods.base import Training
from pose_estimation_ros.settings import Layer, nearest
from pose_estimation_ros.training import processes

Model = TypeVar("Model", bound=BaseModel)


def read_recipe(training: Training, path: Path | None, changes: Layer | None = None) -> Any:
    """Read the recipe of a training, see `read_model`."""
    return read_model(training.recipe_model(), path, changes)


def require_even_batch(recipe: Any, where: str = "") -> None:
    """Refuse a recipe whose batch the processes of torchrun cannot share evenly, before anything is made.

    Args:
        recipe: of any training.
        where: it comes from, for the error.

    Raises:
        ValueError: if they cannot.
    """
    optimiser = getattr(recipe, "optimiser", None)  # trainings of other packages may be without
    if optimiser is None:
        return
    try:
        processes.share_of(optimiser.batch)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error


def read_model(model: type[Model], path: Path | None, changes: Layer | None = None) -> Model:
    """Read a recipe from a YAML file, or take the default one, and change keys of it.

    Raises:
        ValueError: if the file is no mapping, or a key or a value is bad.
    """
    content = {} if path is None else read_mapping(path)
    for name, value in changes.values.items() if changes is not None else ():
        place = content
        for part in name.split(".")[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ValueError(f"{changes.origin if changes else ''} {name}: {part} has no keys")
        place[name.split(".")[-1]] = value
    origin = str(path) if path is not None else changes.origin if changes is not None else "recipe"
    return validated(model, content, origin)


def validated(model: type[Model], content: Mapping[str, Any], origin: str) -> Model:
    """Fill a model from the content of a file.

    Raises:
        ValueError: naming the origin, a key that is bad, its value and what was expected; of a key that is
            unknown, the nearest one.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # A misspelt key is often missing as well: it says more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            *path, last = first["loc"]
            raise ValueError(f"{origin}: unknown key {name!r}; {nearest(str(last), _keys(model, path))}") from error
        given = f"{name} = {first['input']!r}: " if name else ""
        raise ValueError(f"{origin}: {given}{first['msg'].removeprefix('Value error, ')}") from error


def _keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys that a model has where a path leads."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [item for item in (annotation, *get_args(annotation)) if isinstance(item, type)]
        model = next(item for item in inner if issubclass(item, BaseModel))
    return list(model.model_fields)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds keys and values.

    Raises:
        ValueError: if it does not.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected one in YAML with keys and values")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of recipe keys")
    return content
