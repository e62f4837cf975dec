"""The parameters of a real node over DDS: described, set at run time, refused, and chosen by the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rcl_interfaces.msg import ParameterType, SetParametersResult  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters, SetParametersAtomically  # noqa: E402
from rclpy.parameter import Parameter, parameter_value_to_python  # noqa: E402

from pose_estimation_ros.node_settings import known_parameters  # noqa: E402
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle  # noqa: E402
from pose_estimation_ros.ros.loading import LoadedPipeline  # noqa: E402
from pose_estimation_ros.ros.parameters import node_settings, run_settings  # noqa: E402

from .camera_messages import send_until_processed  # noqa: E402


def set_parameter(bench, name: str, value: Any, service: type = SetParametersAtomically) -> SetParametersResult:
    request = service.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    if service is SetParameters:
        return bench.call(service, "/pose_estimation/set_parameters", request).results[0]
    return bench.call(service, "/pose_estimation/set_parameters_atomically", request).result


def get_parameters(bench, *names: str) -> list[Any]:
    answer = bench.call(GetParameters, "/pose_estimation/get_parameters", GetParameters.Request(names=list(names)))
    return [parameter_value_to_python(value) for value in answer.values]


def test_values_change_between_frames(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert set_parameter(bench, "detector.score_threshold", 0.75).successful
    assert set_parameter(bench, "pose.score_threshold", 1, SetParameters).successful  # a whole number is one too
    assert get_parameters(bench, "detector.score_threshold", "pose.score_threshold") == [0.75, 1.0]
    send_until_processed(bench, 2)
    assert pipeline.thresholds == [0.5, 0.75]
    assert pipeline.min_pose_score == 1.0
    bench.wait(lambda: len(bench.received["tf"]) == 2, "transforms")
    assert set_parameter(bench, "publish_tf", False).successful
    send_until_processed(bench, 3)
    bench.wait(lambda: bench.value("frames_processed") == "3", "the end of the frame")
    assert len(bench.received["tf"]) == 2


@pytest.mark.parametrize("service", [SetParameters, SetParametersAtomically])
def test_bad_changes_are_refused_with_the_reason(make_bench, service):
    bench = make_bench(autostart=False)
    for name, value, reason in (
        ("detector.score_threshold", 1.5, "detector.score_threshold out of range"),
        ("detector.score_threshold", float("nan"), "out of range"),
        ("detector.score_threshold", "high", "Wrong parameter type"),
        ("publish_tf", 1, "Wrong parameter type"),
        ("backend", "nemo", "read-only parameter: backend"),
        ("attention.stages", 2, "read-only parameter: attention.stages"),
        ("bakend", "nemo", "'bakend'; did you mean 'backend'?"),
    ):
        result = set_parameter(bench, name, value, service)
        assert not result.successful, name
        assert reason in result.reason
    assert get_parameters(bench, "detector.score_threshold", "backend") == [0.5, "pix2pose"]


def test_bad_start_values_are_refused_with_the_reason(make_bench):
    with pytest.raises(ValueError, match=r"detector.score_threshold = 3.0: expected a number from 0 to 1"):
        make_bench(detector__score_threshold=3.0)
    with pytest.raises(ValueError, match=r"image_transport = 'pigeon': expected one of raw, compressed"):
        make_bench(image_transport="pigeon")
    with pytest.raises(ValueError, match=r"unknown setting 'bakend'; did you mean 'backend'\?"):
        make_bench(bakend="nemo")


def test_the_node_describes_every_parameter(make_bench):
    bench = make_bench(autostart=False)
    known = known_parameters()
    request = DescribeParameters.Request(names=list(known))
    descriptors = bench.call(DescribeParameters, "/pose_estimation/describe_parameters", request).descriptors
    described = {item.name: item for item in descriptors}
    types = {
        bool: ParameterType.PARAMETER_BOOL,
        int: ParameterType.PARAMETER_INTEGER,
        float: ParameterType.PARAMETER_DOUBLE,
        str: ParameterType.PARAMETER_STRING,
        tuple: ParameterType.PARAMETER_DOUBLE_ARRAY,
    }
    for name, info in known.items():
        descriptor = described[name]
        expected = ParameterType.PARAMETER_STRING_ARRAY if info.holds_texts else types[info.type]
        assert descriptor.type == expected, name
        assert descriptor.description == info.description
        assert descriptor.additional_constraints == info.expected
        assert descriptor.read_only == (not info.at_run_time)
    threshold = described["detector.score_threshold"].floating_point_range[0]
    assert (threshold.from_value, threshold.to_value) == (0.0, 1.0)
    stages = described["attention.stages"].integer_range[0]
    assert (stages.from_value, stages.to_value) == (1, 32)
    assert described["backend"].additional_constraints == "one of corners, heatmaps, nemo, pix2pose, unseen"
    assert not [name for name in ("detector.score_threshold", "publish_tf") if described[name].read_only]


def test_an_empty_list_is_a_list(make_bench):
    nothing = {f"pix2pose__framing_{name}": None for name in ("scales", "shifts_x", "shifts_y")}  # as ROS gives [] on
    seen = []

    def factory(given):
        seen.append(run_settings(given, None).methods["pix2pose"].framings)
        raise ValueError("enough seen")

    bench = make_bench(factory, **nothing)
    bench.wait(lambda: "enough seen" in bench.status_message(), "the settings")
    assert seen == [()]


@pytest.fixture
def write_bundle(tmp_path, catalog):
    """Return a function that writes a bundle with settings of its own."""

    def write(**settings: Any) -> Path:
        save_bundle(Bundle(tmp_path / "chosen", "chosen", catalog, {}, PosePrior(), settings=settings))
        return tmp_path / "chosen"

    return write


@pytest.fixture
def factory(pipeline, catalog):
    """Return a factory of pipelines that need no weights, with the settings that a real one has."""

    def build(given):
        bundle = load_bundle(node_settings(given).bundle)
        return LoadedPipeline(pipeline, catalog, settings=run_settings(given, bundle).values())

    return build


def test_what_the_bundle_says_is_the_default_of_the_parameters(make_bench, factory, pipeline, write_bundle):
    path = write_bundle(attention={"stages": 6, "rotation_hypotheses": 5}, detector={"score_threshold": 0.7})
    # The second value is the plain default, given on purpose.
    bench = make_bench(factory, bundle=str(path), **{"attention.stages": 3, "attention.rotation_hypotheses": 2})
    names = ("attention.stages", "attention.rotation_hypotheses", "detector.score_threshold")
    assert get_parameters(bench, *names) == [3, 2, 0.7]
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert pipeline.thresholds == [0.7]


def test_a_bundle_mended_after_the_start_has_its_say_and_the_user_the_last_word(
    make_bench, factory, pipeline, write_bundle, monkeypatch
):
    path = write_bundle(detector={"score_threshold": 7.0}, pose={"score_threshold": 0.1})
    bench = make_bench(factory, bundle=str(path))
    bench.wait(lambda: "chosen/bundle.yaml: detector.score_threshold = 7.0" in bench.status_message(), "the reason")
    assert get_parameters(bench, "detector.score_threshold", "pose.score_threshold") == [0.5, -1.0]
    assert set_parameter(bench, "pose.score_threshold", 0.3).successful
    warned = []
    monkeypatch.setattr(bench.node.get_logger(), "warning", warned.append)
    write_bundle(detector={"score_threshold": 0.8}, pose={"score_threshold": 0.2})
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert bench.call(ChangeState, "/pose_estimation/change_state", request).success
    assert len(warned) == 1
    assert warned[0].endswith(": detector.score_threshold")
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert (pipeline.thresholds, pipeline.min_pose_score) == ([0.8], 0.3)


def test_the_objects_that_are_looked_for_change_between_frames_and_unknown_ones_are_refused(
    make_bench, factory, pipeline, write_bundle
):
    bench = make_bench(factory, bundle=str(write_bundle()), objects=["can"])
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert pipeline.objects == ("can",)
    refused = set_parameter(bench, "objects", ["box", "drill"])
    assert not refused.successful
    assert "no object 'drill'; expected names of box, can" in refused.reason
    assert get_parameters(bench, "objects") == [["can"]]
    for names in (["box"], []):
        assert set_parameter(bench, "objects", names).successful
        assert get_parameters(bench, "objects") == [names]
        send_until_processed(bench, 2)
        assert pipeline.objects == tuple(names)
