"""The configurations for RViz and Foxglove name nothing but what the node has, with the types that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

CONFIG = Path(__file__).resolve().parents[2] / "config"
OF_RVIZ = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
}
# What Foxglove's panels can show of the node's messages.
OF_FOXGLOVE = {
    "Image": {"sensor_msgs/msg/Image"},
    "3D": {"visualization_msgs/msg/MarkerArray", "tf2_msgs/msg/TFMessage"},
}


@pytest.fixture
def published(make_bench) -> dict[str, list[str]]:
    """Return the types of the topics that a real node publishes, by their names."""
    bench = make_bench()

    def topics() -> dict[str, list[str]]:
        own = {}
        for name, _ in bench.node.get_topic_names_and_types():
            publishers = bench.node.get_publishers_info_by_topic(name)
            own[name] = sorted({item.topic_type for item in publishers if item.node_name == "pose_estimation"})
        return {name: types for name, types in own.items() if types}

    bench.wait(lambda: "/pose_estimation/debug/glances" in topics(), "the last of its topics")
    return topics()


def fields_of(message_type: str) -> dict[str, str]:
    """Return the types of the fields of a message such as `std_msgs/msg/Header` or `std_msgs/Header`, by name."""
    package, *_, name = message_type.split("/")
    return getattr(import_module(f"{package}.msg"), name).get_fields_and_field_types()


def displays() -> list[dict[str, Any]]:
    return yaml.safe_load((CONFIG / "rviz" / "pose.rviz").read_text())["Visualization Manager"]["Displays"]


def panels() -> dict[str, dict[str, Any]]:
    return json.loads((CONFIG / "foxglove" / "pose.json").read_text())["configById"]


def test_rviz_subscribes_to_what_the_node_publishes_with_a_quality_of_service_that_fits(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    with_topic = [display for display in displays() if "Topic" in display]
    assert len(with_topic) == 2
    for display in with_topic:
        topic = display["Topic"]
        publishers = bench.client.get_publishers_info_by_topic(f"/{topic['Value']}")
        assert {item.topic_type for item in publishers} == {OF_RVIZ[display["Class"]]}, display["Name"]
        if topic["Reliability Policy"] == "Reliable":
            assert {item.qos_profile.reliability for item in publishers} == {ReliabilityPolicy.RELIABLE}
        if topic["Durability Policy"] == "Transient Local":
            assert {item.qos_profile.durability for item in publishers} == {DurabilityPolicy.TRANSIENT_LOCAL}
    assert [display["Class"] for display in displays() if "Topic" not in display] == ["rviz_default_plugins/TF"]


def paths() -> Iterator[tuple[str, str]]:
    """Yield every message path of Foxglove's layout, and the panel that shows it."""
    for name, panel in panels().items():
        kind = name.partition("!")[0]
        shown = [panel["topicPath"]] if "topicPath" in panel else []
        mode = panel.get("imageMode", {})
        shown += [mode[key] for key in ("imageTopic", "calibrationTopic") if key in mode]
        shown += panel.get("topics", {})
        assert shown, name
        yield from ((path, kind) for path in shown)


def test_foxglove_shows_topics_that_the_node_publishes_in_panels_that_can(published):
    assert {kind for _, kind in paths()} == {"Image", "3D", "RawMessages"}
    for path, kind in paths():
        (message_type,) = published[path.partition(".")[0]]
        if kind in OF_FOXGLOVE:
            assert message_type in OF_FOXGLOVE[kind], path


def test_foxglove_s_message_paths_name_fields_that_the_messages_have(published):
    found = 0
    for path, _ in paths():
        topic, _, inside = path.partition(".")
        if not inside:
            continue
        match = re.fullmatch(r'(\w+)\[:\](?:\{(\w+)=="([^"]+)"\})?', inside)
        assert match is not None, path
        element = re.fullmatch(r"sequence<(.+)>", fields_of(published[topic][0])[match[1]])
        assert element is not None, path
        if match[2]:
            assert fields_of(element[1])[match[2]] == "string"
            assert match[3] == "/pose_estimation"  # as the node calls itself there
        found += 1
    assert found == 2


def test_every_panel_of_foxglove_has_its_place():
    def leaves(item: Any) -> list[str]:
        return [item] if isinstance(item, str) else [*leaves(item["first"]), *leaves(item["second"])]

    layout = json.loads((CONFIG / "foxglove" / "pose.json").read_text())["layout"]
    assert sorted(leaves(layout)) == sorted(panels())
