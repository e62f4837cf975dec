"""What parameters are accepted, which are refused and why, and whose values win."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.ros.parameters import node_settings, run_settings
from pose_estimation_ros.settings import SettingsError

CUBE = ObjectModel(1, "cube", 0.1733, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("cube.ply"))


def bundle_with(**settings) -> Bundle:
    return Bundle(Path("models/chosen"), "chosen", Catalog((CUBE,)), {}, PosePrior(), settings=settings)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("detector.score_threshold", 1.01, "detector.score_threshold = 1.01: expected a number from 0 to 1"),
        ("detector.score_threshold", float("nan"), "detector.score_threshold = nan: expected a finite number"),
        ("detector.score_threshold", True, "detector.score_threshold = True: expected a number from 0 to 1"),
        ("diagnostics_period_s", 0.0, "diagnostics_period_s = 0.0: expected a number from 0.1 to 60"),
        ("tracking.detect_every", 0, "tracking.detect_every = 0: expected a whole number from 1 to 1000"),
        ("tracking.detect_every", 2.0, "tracking.detect_every = 2.0: expected a whole number from 1 to 1000"),
        ("tracking.mode", "guess", "tracking.mode = 'guess': expected one of detect, refine"),
        ("tracking.filter.min_gain", 0.0, "= 0.0: expected a number above 0 and at most 1"),
        ("image_transport", "theora", "image_transport = 'theora': expected one of raw, compressed"),
        ("backend", "nmo", "backend = 'nmo': did you mean 'nemo'?"),
        ("refiner", "icp", "refiner = 'icp': expected one of attention, none"),
        ("detector.method", "mask-rcnn", "detector.method = 'mask-rcnn': did you mean 'mask_rcnn'?"),
        ("device", "gpu", "device = 'gpu': expected a text that matches .* \\(Where the networks run: auto"),
        ("frame_prefix", "/robot/", "frame_prefix = '/robot/': expected .* letters, digits"),
        ("frame_prefix", "my robot", "frame_prefix = 'my robot': expected .* letters, digits"),
        ("bundle", " ", "bundle = ' ': expected .*\\(Folder of a bundle"),
        ("publish_tf", 1, "publish_tf = 1: expected true or false"),
        ("pix2pose.outlier_errors", 0.2, "pix2pose.outlier_errors = 0.2: expected a list of numbers"),
        ("pix2pose.framing_scales", [0.9], "pix2pose: framing_scales, .* have 1, 2 and 2 values: expected as many"),
        ("bakend", "nemo", "unknown setting 'bakend'; did you mean 'backend'?"),
        ("attention.steps", 4, "unknown setting 'attention.steps'; did you mean 'attention.stages'?"),
    ],
)
def test_bad_parameters_are_refused_with_the_reason(name, value, reason):
    with pytest.raises(SettingsError, match=f"^the node's parameters: .*{reason}"):
        node_settings({name: value})
        run_settings({name: value}, None)


@pytest.mark.parametrize("name", ["use_sim_time", "qos_overrides./tf.publisher.depth"])
def test_parameters_of_all_ros_nodes_pass(name):
    node_settings({name: 3})
    assert name not in run_settings({name: 3}, None).values()


def test_good_values_arrive():
    own = node_settings({"frame_prefix": "robot_1/", "device": "cuda:1"})
    run = run_settings({"frame_prefix": "robot_1/", "device": "cuda:1", "pix2pose.outlier_errors": [0.1, 1]}, None)
    assert own.frame_prefix == "robot_1/"
    assert run.pipeline.device == "cuda:1"
    assert run.values()["pix2pose.outlier_errors"] == (0.1, 1.0)


def test_a_whole_number_is_a_number_too():
    value = run_settings({"detector.score_threshold": 1}, None).pipeline.detector.score_threshold
    assert (value, type(value)) == (1.0, float)


def test_what_was_given_wins_over_the_bundle_and_that_over_the_defaults():
    bundle = bundle_with(attention={"stages": 6, "error_scale": 2.0}, detector={"score_threshold": 0.7})
    run = run_settings({"attention.stages": 2}, bundle)
    values, origins = run.values(), run.origins
    assert (values["attention.stages"], origins["attention.stages"]) == (2, "the node's parameters")
    assert (values["attention.error_scale"], origins["attention.error_scale"]) == (2.0, "models/chosen/bundle.yaml")
    assert (values["attention.min_cost_gain"], origins["attention.min_cost_gain"]) == (0.1, "default")
    assert values["detector.score_threshold"] == 0.7


@pytest.mark.parametrize("given", [4, 6])
def test_what_was_given_wins_whether_it_is_the_default_or_what_the_bundle_says(given):
    run = run_settings({"attention.stages": given}, bundle_with(attention={"stages": 6}))
    assert (run.values()["attention.stages"], run.origins["attention.stages"]) == (given, "the node's parameters")


def test_mistakes_of_the_bundle_are_the_bundle_s():
    with pytest.raises(SettingsError, match=r"^models/chosen/bundle.yaml: attention.stages = 0: expected"):
        run_settings({"attention.error_scale": 2.0}, bundle_with(attention={"stages": 0}))
    with pytest.raises(SettingsError, match=r"^models/chosen/bundle.yaml: unknown setting 'publish_tf'"):
        run_settings({}, bundle_with(publish_tf=False))
