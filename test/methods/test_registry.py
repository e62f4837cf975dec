"""The registry: what is installed is found by itself, and what is wrong with it is said by name."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pose_estimation_ros.methods.base import Method, Training
from pose_estimation_ros.methods.registry import (
    choices,
    find_method,
    find_training,
    methods,
    methods_of,
    trained_networks,
)

TELEPATHY = Method(
    name="telepathy",
    kind="backend",
    summary="Knows the pose.",
    paper="none",
    settings="telepathy.settings:TelepathySettings",
    load="telepathy.estimator:load",
    training=Training("mind", "telepathy.training:Recipe", "telepathy.training:train"),
)


def test_a_package_adds_a_method_by_being_installed(install_method):
    assert "telepathy" not in choices("backend")
    before = trained_networks()
    install_method(TELEPATHY)
    assert "telepathy" in choices("backend")
    assert "telepathy" not in {*choices("refiner"), *choices("detector")}
    assert find_method("backend", "telepathy") is TELEPATHY
    assert set(trained_networks()) - set(before) == {"mind"}
    assert "telepathy.training" not in sys.modules  # neither code nor settings are imported to list methods


def test_several_packages_add_theirs(install_method):
    install_method(TELEPATHY, name="first")
    install_method(replace(TELEPATHY, name="clairvoyance", kind="detector"), name="second")
    assert "telepathy" in choices("backend") and "clairvoyance" in choices("detector")


@pytest.mark.parametrize("kind", ["detector", "backend", "refiner"])
def test_methods_of_a_kind_are_of_that_kind(kind):
    found = methods_of(kind)
    assert found and all(method.kind == kind for method in found.values())
    assert set(choices(kind)) - set(found) == ({"none"} if kind == "refiner" else set())


def test_unknown_names_are_refused_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="^backend = 'pix2poze': did you mean 'pix2pose'"):
        find_method("backend", "pix2poze")
    with pytest.raises(ValueError, match="^refiner = 'icp': expected one of attention, none"):
        find_method("refiner", "icp")


def test_a_method_is_found_among_those_of_its_kind_only():
    with pytest.raises(ValueError, match="^detector = 'pix2pose': expected one of mask_rcnn, patches, proposals"):
        find_method("detector", "pix2pose")


def test_a_training_is_found_by_the_network_and_by_the_method(install_method):
    install_method(TELEPATHY)
    assert find_training("mind") is find_training("telepathy") is TELEPATHY.training
    with pytest.raises(ValueError, match="^network 'mint': did you mean 'mind'"):
        find_training("mint")


def test_two_packages_with_one_name_are_refused(install_method):
    install_method(TELEPATHY, name="first")
    install_method(replace(TELEPATHY, summary="Guesses the pose."), name="second")
    with pytest.raises(ValueError, match="two methods are called 'telepathy': .*; uninstall one") as caught:
        methods()
    assert "first_methods:TELEPATHY" in str(caught.value) and "second_methods:TELEPATHY" in str(caught.value)


def test_the_same_method_registered_twice_is_one(install_method):
    install_method(TELEPATHY, name="first")
    install_method(entry_points={"telepathy": "first_methods:TELEPATHY"}, name="copy_of_first")
    assert find_method("backend", "telepathy") is TELEPATHY


def test_a_method_that_cannot_be_imported_is_left_out_with_a_warning(install_method, caplog):
    site = install_method(entry_points={"broken": "broken_methods:METHOD"})
    (site / "broken_methods.py").write_text("import a_library_that_nobody_has\n")
    with caplog.at_level(logging.WARNING):
        found = methods()
    assert "broken" not in found and "pix2pose" in found
    assert "method 'broken' of broken_methods:METHOD cannot be imported" in caplog.text
    assert "a_library_that_nobody_has" in caplog.text


def test_what_is_no_method_is_left_out_with_a_warning(install_method, caplog):
    site = install_method(entry_points={"text": "text_methods:METHOD"})
    (site / "text_methods.py").write_text("METHOD = 'pix2pose'\n")
    with caplog.at_level(logging.WARNING):
        assert "text" not in methods()
    assert "method 'text' of text_methods:METHOD: is a str, expected a Method" in caplog.text


def test_nothing_registered_is_an_error_that_says_what_to_do(install_method, tmp_path: Path, monkeypatch):
    install_method(TELEPATHY)  # caches are cleared now and afterwards
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ValueError, match="no entry points of the group pose_estimation_ros.methods: .*setup.sh"):
        methods()
