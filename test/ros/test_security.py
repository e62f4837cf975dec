"""The policy for SROS 2 allows each process exactly what it has: no topic and no service more or less."""

from __future__ import annotations

import importlib.util
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from rclpy.parameter import Parameter  # noqa: E402

from pose_estimation_ros.methods.registry import pipeline_methods  # noqa: E402
from pose_estimation_ros.ros.loading import LoadedPipeline  # noqa: E402
from pose_estimation_ros.ros.play_node import PlayNode  # noqa: E402
from pose_estimation_ros.ros.pose_node import PoseNode  # noqa: E402

from . import tf2_stand_in  # noqa: E402
from .conftest import WAIT_S  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "config" / "sros2" / "policy.xml"
QUERIES = {"publish": "publisher", "subscribe": "subscriber", "reply": "service", "request": "client"}
Rights = dict[str, set[str]]


def allowed(enclave: str, node: str) -> Rights:
    """Return the full names that the policy allows an enclave, by right, if its node is called so."""
    policy = ElementTree.parse(POLICY).getroot()
    (profile,) = policy.iterfind(f"enclaves/enclave[@path='/pose_estimation/{enclave}']/profiles/profile")
    assert profile.attrib["ns"] == "/"
    rights: Rights = {right: set() for right in QUERIES}
    for group in profile:
        assert set(group.attrib.values()) == {"ALLOW"}  # what is not allowed is denied
        for right in group.attrib:
            for item in group:
                name = (item.text or "").replace("~", f"/{node}", 1)
                assert "*" not in name
                rights[right].add(name if name.startswith("/") else f"/{name}")
    return rights


def used(node: Any, expected: Rights) -> Rights:
    """Return what a node really has, by right, once the graph knows all that is expected, or seconds later."""
    end_s = time.monotonic() + WAIT_S
    while True:
        queries = {right: getattr(node, f"get_{kind}_names_and_types_by_node") for right, kind in QUERIES.items()}
        found = {right: {name for name, _ in query(node.get_name(), "/")} for right, query in queries.items()}
        if all(expected[right] <= found[right] for right in QUERIES) or time.monotonic() > end_s:
            return found
        time.sleep(0.05)


def test_nothing_but_enclaves_stands_between_enclaves():
    """The tool that makes the keys takes comments there for enclaves without a name."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    (enclaves,) = ElementTree.parse(POLICY, parser).getroot()
    names = [item.attrib.get("path") for item in enclaves]
    assert names == [f"/pose_estimation/{name}" for name in ("node", "camera", "consumer", "planning_scene")]


@pytest.fixture
def context(domain_id) -> Iterator[Any]:
    made = rclpy.Context()
    rclpy.init(context=made, domain_id=domain_id)
    yield made
    made.try_shutdown()


def called(name: str, context: Any, **parameters: Any) -> dict[str, Any]:
    """Return the arguments of a node of this name: the graph mixes up nodes of one name."""
    overrides = [Parameter(key, value=value) for key, value in parameters.items()]
    return {
        "context": context,
        "cli_args": ["--ros-args", "-r", f"__node:={name}"],
        "parameter_overrides": overrides,
    }


@pytest.fixture
def start(context, pipeline, catalog) -> Iterator[Callable[..., PoseNode]]:
    """Return a function that activates a pose node whose backends and refiners are all that draw."""
    drawing = [name for name, method in pipeline_methods().items() if method.drawing and method.kind != "detector"]
    loaded = LoadedPipeline(pipeline, catalog, debug_names=tuple(drawing))
    nodes: list[PoseNode] = []

    def activate(name: str, **parameters: Any) -> PoseNode:
        node = PoseNode(lambda _: loaded, **called(name, context, autostart=False, **parameters))
        nodes.append(node)
        node.trigger_configure()
        node.trigger_activate()
        assert node.state == "active"
        return node

    yield activate
    for node in nodes:
        node.release()
        node.destroy_node()


@pytest.mark.parametrize(
    ("parameters", "unused"),
    [
        ({}, {"/image/compressed", "/clock"}),
        ({"image_transport": "compressed", "use_sim_time": True}, {"/image"}),
    ],
)
def test_the_node(start, parameters, unused):
    name = f"node_{len(unused)}"
    rights = allowed("node", name)
    expected = {**rights, "subscribe": rights["subscribe"] - unused}
    assert used(start(name, **parameters), expected) == expected


@pytest.mark.parametrize(("transport", "unused"), [("raw", "/image/compressed"), ("compressed", "/image")])
def test_the_camera(context, transport, unused):
    rights = allowed("camera", f"camera_{transport}")
    expected = {**rights, "publish": rights["publish"] - {unused}}
    camera = PlayNode(transport=transport, **called(f"camera_{transport}", context))
    assert used(camera, expected) == expected
    camera.destroy_node()


def test_a_consumer(context, monkeypatch):
    specification = importlib.util.spec_from_file_location("pick_pose", ROOT / "examples" / "pick_pose.py")
    assert specification is not None and specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    with monkeypatch.context() as patch:
        if importlib.util.find_spec("tf2_ros") is None:
            patch.setitem(sys.modules, "tf2_ros", tf2_stand_in)
        patch.setitem(sys.modules, "pick_pose", example)
        specification.loader.exec_module(example)
    node = rclpy.create_node("consumer", **called("consumer", context, use_sim_time=True))
    buffer = example.tf2_ros.Buffer()
    listener = example.tf2_ros.TransformListener(buffer, node)
    picker = example.Picker(node, buffer, example.parser().parse_args(["--object", "box", "--detect"]))
    expected = allowed("consumer", "consumer")
    assert used(node, expected) == expected
    assert picker.reason  # it lives
    listener.unregister()
    node.destroy_node()


def test_the_bridge_to_moveit(context, install):
    pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed: the bridge to MoveIt cannot run here")
    from pose_estimation_ros.ros.planning_scene.node import PlanningSceneNode

    if importlib.util.find_spec("tf2_ros") is None:
        install("tf2_ros", tf2_stand_in)
    parameters = {"use_sim_time": True, "planning_frame": "base_link", "mesh_dir": "/no/meshes"}
    node = PlanningSceneNode(**called("bridge", context, **parameters))
    expected = allowed("planning_scene", "bridge")
    assert used(node, expected) == expected
    node.destroy_node()
