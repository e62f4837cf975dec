"""The parameters of the node: the pipeline's, the methods', those of methods from elsewhere, and its own."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest

from pose_estimation_ros.methods.base import Method
from pose_estimation_ros.methods.registry import pipeline_methods
from pose_estimation_ros.node_settings import NodeSettings, known_parameters, split_parameters
from pose_estimation_ros.pipeline_settings import known_settings, resolve_run
from pose_estimation_ros.settings import DEFAULT, Layer, Settings, SettingsError, list_settings, setting


class TelepathySettings(Settings):
    """How minds are read."""

    seances: int = setting(3, "Questions to the spirit.", ge=1, le=9)


@pytest.fixture
def telepathy(monkeypatch) -> Method:
    module = types.ModuleType("telepathy_settings")
    module.TelepathySettings = TelepathySettings
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Method(
        name="telepathy",
        kind="backend",
        summary="Knows the pose.",
        paper="none",
        settings="telepathy_settings:TelepathySettings",
        load="telepathy:load",
    )


def test_parameters_are_the_node_s_the_pipeline_s_and_the_methods():
    known = known_parameters()
    own = [item.name for item in list_settings(NodeSettings)]
    assert list(known) == [*own, *known_settings()]
    for name, method in pipeline_methods().items():
        assert {item.name for item in list_settings(method.settings_model(), f"{name}.")} <= set(known)


def test_methods_that_are_installed_are_choices():
    known = known_parameters()
    assert known["backend"].choices == ("corners", "heatmaps", "nemo", "pix2pose", "unseen")
    assert known["refiner"].choices == ("none", "attention")
    assert known["detector.method"].expected == "one of mask_rcnn, patches, proposals"


def test_a_method_from_elsewhere_brings_its_settings_and_is_a_choice(install_method, telepathy):
    install_method(telepathy)
    known = known_parameters()
    assert known["telepathy.seances"].expected == "a whole number from 1 to 9"
    assert "telepathy" in known["backend"].choices
    run = resolve_run(None, [Layer("--set", {"backend": "telepathy", "telepathy.seances": 5})])
    assert run.methods["telepathy"].seances == 5
    changed = {name: value for name, value in run.values().items() if run.origins[name] != DEFAULT}
    assert changed == {"backend": "telepathy", "telepathy.seances": 5}


@pytest.mark.parametrize("name", ["tracking", "bundle"])
def test_a_method_with_the_name_of_a_setting_is_refused(install_method, telepathy, name):
    install_method(replace(telepathy, name=name))
    with pytest.raises(ValueError, match=f"method '{name}': .* of that name; expected another name"):
        known_parameters()


def test_parameters_are_parted_and_those_of_all_nodes_left_out():
    values = {"publish_tf": False, "backend": "nemo", "use_sim_time": True, "qos_overrides./tf.publisher.depth": 3}
    own, others = split_parameters(Layer("my.yaml", values))
    assert own == Layer("my.yaml", {"publish_tf": False})
    assert others == Layer("my.yaml", {"backend": "nemo"})
    with pytest.raises(SettingsError, match=r"^my.yaml: unknown setting 'use_sim_tim'"):
        split_parameters(Layer("my.yaml", {"use_sim_tim": True}))


@pytest.mark.parametrize("name", ["backend", "refiner", "detector.method"])
def test_methods_that_are_not_installed_are_refused_wherever_they_were_named(name):
    with pytest.raises(SettingsError, match=f"^--set: {name} = 'oracle': expected one of"):
        resolve_run(None, [Layer("--set", {name: "oracle"})])
