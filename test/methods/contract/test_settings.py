"""Settings of every method reach it: from bundle.yaml, and over it from --set; what is wrong is refused by name."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pose_estimation_ros.cli.settings_options import settings_of
from pose_estimation_ros.methods.base import LoadContext, import_object
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, load_bundle, save_bundle
from pose_estimation_ros.pipeline_settings import RunSettings, resolve_run
from pose_estimation_ros.settings import SettingInfo, SettingsError, list_settings, parse_assignments, values_of

from .case import Case

NOT_TRACKED = "tracking.enabled=false"


def other_value(info: SettingInfo) -> Any:
    """Return a good value of a setting that is not its default; the default of those that have no other."""
    default: Any = info.default
    if info.type is bool:
        return not default
    if info.choices:
        return next((item for item in info.choices if item != default), default)
    if info.type is tuple:
        return tuple(0.5 * item for item in default)
    if info.type is str:
        return default
    low = -1e9 if info.minimum is None else info.minimum
    high = 1e9 if info.maximum is None else info.maximum
    for value in (default + 1, default - 1) if info.type is int else (1.25 * default, 0.75 * default, default + 0.5):
        if low < value < high:
            return value
    return default


def other_values(case: Case) -> dict[str, Any]:
    """Return other values of all settings of the method, by full name."""
    found = list_settings(case.method.settings_model(), f"{case.method.name}.")
    return {item.name: other_value(item) for item in found}


@pytest.fixture
def changed(case: Case, tmp_path: Path) -> Bundle:
    """Return a copy of the bundle that has another value of every setting of the method."""
    shutil.copytree(case.bundle.path, tmp_path / "bundle")
    nested: dict[str, Any] = {}
    for name, value in other_values(case).items():
        place, *_ = [nested]
        *groups, last = name.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = list(value) if isinstance(value, tuple) else value
    save_bundle(replace(case.bundle, path=tmp_path / "bundle", settings=nested))
    return load_bundle(tmp_path / "bundle")


@pytest.fixture
def loaded_with(case: Case, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return a list that receives the settings with which the method is loaded."""
    contexts: list[Any] = []
    load = import_object(case.method.load)

    def recorded(context: LoadContext) -> Any:
        contexts.append(context.settings)
        return load(context)

    monkeypatch.setattr(case.method.load.replace(":", "."), recorded)
    return contexts


def with_set(bundle: Bundle, assignments: list[str]) -> RunSettings:
    """Return the settings of a command with these arguments of --set."""
    return settings_of(argparse.Namespace(assignments=[NOT_TRACKED, *assignments]), bundle)


def test_defaults_without_a_word(case: Case):
    plain = resolve_run(replace(case.bundle, settings={}))
    assert plain.methods[case.method.name] == case.method.settings_model()()


def test_settings_of_the_bundle_are_in_force(case: Case, changed: Bundle, loaded_with: list[Any]):
    run = with_set(changed, [])
    expected = other_values(case)
    assert {name: run.values()[name] for name in expected} == expected
    assert {run.origins[name] for name in expected} == ({str(changed.path / BUNDLE_FILE)} if expected else set())
    replace(case, bundle=changed).pipeline(settings=run)
    assert dict(values_of(loaded_with[-1], f"{case.method.name}.")) == expected


def test_set_wins_over_the_bundle(case: Case, changed: Bundle, loaded_with: list[Any]):
    defaults = dict(values_of(case.method.settings_model()(), f"{case.method.name}."))
    run = with_set(changed, [f"{name}={json.dumps(value)}" for name, value in defaults.items()])
    assert {name: run.values()[name] for name in defaults} == defaults
    assert {run.origins[name] for name in defaults} <= {"--set"}
    replace(case, bundle=changed).pipeline(settings=run)
    assert dict(values_of(loaded_with[-1], f"{case.method.name}.")) == defaults


def test_an_unknown_name_is_refused_with_the_nearest_one(case: Case):
    for item in list_settings(case.method.settings_model(), f"{case.method.name}."):
        with pytest.raises(SettingsError, match=f"--set: unknown setting '{item.name}s'; did you mean '{item.name}"):
            resolve_run(case.bundle, [parse_assignments([f"{item.name}s=1"])])


def test_a_value_beyond_the_limits_is_refused_with_what_is_expected(case: Case):
    for item in list_settings(case.method.settings_model(), f"{case.method.name}."):
        bad = bad_value(item)
        with pytest.raises(SettingsError, match=rf"^--set: {item.name} = .*: expected ") as caught:
            resolve_run(case.bundle, [parse_assignments([f"{item.name}={json.dumps(bad)}"])])
        assert item.expected in str(caught.value)


def bad_value(info: SettingInfo) -> Any:
    if info.minimum is not None:
        return type(info.default)(info.minimum - 1)
    if info.maximum is not None:
        return type(info.default)(info.maximum + 1)
    return 7 if info.type in (bool, str) else "seven"
