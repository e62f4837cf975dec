"""What a method says of itself is whole, and loading it imports nothing that only its training needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from pydantic import BaseModel

from pose_estimation_ros.methods.base import Method, import_object
from pose_estimation_ros.methods.registry import find_training, methods
from pose_estimation_ros.settings import Settings, list_settings
from pose_estimation_ros.training.trial import Trial

every_method = pytest.mark.parametrize("method", methods().values(), ids=list(methods()))
# Words for units in descriptions, and how names with such a unit end.
UNITS = {"metres": "_m", "seconds": "_s", "degrees": "_deg", "radians": "_rad", "pixels": "_px", "cells": "_cells"}
UNIT = re.compile(rf"(?:, | in )({'|'.join(UNITS)})\b")


@every_method
def test_name_kind_summary_and_paper_are_there(method: Method):
    assert re.fullmatch("[a-z][a-z0-9_]*", method.name)  # names of topics and parameters are made of it
    assert method.kind in ("detector", "backend", "refiner", "hands")
    assert re.fullmatch(r"[A-Z][^.]+\.", method.summary), "expected one sentence"
    assert method.paper.strip()
    assert method.kind != "detector" or method.drawing is None, "nothing calls the drawing of a detector"


@every_method
def test_code_that_is_named_is_there(method: Method):
    asked = [name for name in (method.drawing, method.export) if name is not None]
    named = [method.load, *asked, *(item.train for item in method.trainings)]
    assert all(callable(import_object(name)) for name in named)


@every_method
def test_networks_that_are_needed_can_be_trained(method: Method):
    assert all(find_training(role).role == role for role in method.roles)
    for training in method.trainings:
        assert training.role in method.roles
        recipe = training.recipe_model()
        assert issubclass(recipe, BaseModel)
        recipe()  # a training without a word from the user
        with pytest.raises(ValueError, match="no_such_key"):
            recipe.model_validate({"no_such_key": 1})
        assert training.trial is not None
        trial = import_object(training.trial)
        assert isinstance(trial, Trial)
        recipe.model_validate(dict(trial.recipe))
        method.settings_model().model_validate(dict(trial.settings), strict=True)


@every_method
def test_no_other_method_trains_the_same_network(method: Method):
    others = {training.role for item in methods().values() if item is not method for training in item.trainings}
    assert others.isdisjoint(training.role for training in method.trainings)


@every_method
def test_settings_are_described_and_have_good_defaults(method: Method):
    model = method.settings_model()
    assert issubclass(model, Settings)
    assert model.model_validate(model().model_dump(), strict=True) == model()
    for item in list_settings(model):
        assert re.fullmatch(r"\S.*[^.]\.", item.description), f"{item.name}: expected sentences, {item.description!r}"
        unit = UNIT.search(item.description)
        if item.type in (int, float) and unit:
            assert item.name.endswith(UNITS[unit[1]]), f"{item.name}: is in {unit[1]}, expected a name that says so"


def test_loading_imports_no_training():
    """One process for all methods: importing PyTorch takes seconds."""
    code = """
import json, sys
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.registry import methods
for method in methods().values():
    for name in filter(None, (method.load, method.settings, method.drawing)):
        import_object(name)
print(json.dumps(list(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    training = {item.train.partition(":")[0] for method in methods().values() for item in method.trainings}
    assert imported & training == set()
    assert {name for name in imported if name.startswith("pose_estimation_ros.training")} == set()
