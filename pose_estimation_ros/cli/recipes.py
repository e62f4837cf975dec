"""Recipes: YAML files that decide everything a training does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.methods.base import Training
from pose_estimation_ros.settings import Layer


def read_recipe(training: Training, path: Path | None, changes: Layer | None = None) -> Any:
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
    return training.recipe_model().model_validate(content)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds keys and values.

    Raises:
        ValueError: if it does not.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of recipe keys")
    return content
