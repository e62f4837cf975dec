"""What stands in for tf_transformations and tf2_ros does what they do, and they are called as they want it."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.ros.ecosystem import (
    PlainBroadcaster,
    matrix_from_quaternion,
    quaternions_from_matrices,
    transform_broadcaster,
)

HALF = np.sqrt(0.5)


def rigid(rotation_vectors: np.ndarray) -> np.ndarray:
    """Return rotation vectors (N, 3) as rigid transforms (N, 4, 4) with a translation."""
    transforms = np.tile(np.eye(4), (len(rotation_vectors), 1, 1))
    transforms[:, :3, :3] = Rotation.from_rotvec(rotation_vectors).as_matrix()
    transforms[:, :3, 3] = (0.1, -0.2, 0.7)
    return transforms


def test_quarter_turn_about_z_without_tf_transformations(install):
    install("tf_transformations", None)
    turned = rigid(np.array([[0.0, 0.0, np.pi / 2.0]]))
    assert quaternions_from_matrices(turned)[0] == pytest.approx([0.0, 0.0, HALF, HALF])
    expected = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert matrix_from_quaternion((0.0, 0.0, HALF, HALF)) == pytest.approx(np.array(expected))


def test_tf_transformations_gets_rigid_transforms_and_quaternions_xyzw(install):
    asked = []

    def quaternion_from_matrix(matrix):
        asked.append(matrix)
        return (0.1, 0.2, 0.3, 0.4)  # it returns a tuple of numbers

    def quaternion_matrix(quaternion):
        asked.append(quaternion)
        return 2.0 * np.eye(4)

    functions = {"quaternion_from_matrix": quaternion_from_matrix, "quaternion_matrix": quaternion_matrix}
    install("tf_transformations", SimpleNamespace(**functions))
    transforms = rigid(np.array([[0.1, 0.2, 0.3], [1.0, 0.0, -1.0]])).astype(np.float32)
    assert np.array_equal(quaternions_from_matrices(transforms), [[0.1, 0.2, 0.3, 0.4]] * 2)
    assert all(given.shape == (4, 4) and given.dtype == np.float64 for given in asked)
    assert np.array_equal(asked, transforms)
    assert np.array_equal(matrix_from_quaternion((0.5, 0.5, 0.5, 0.5)), 2.0 * np.eye(4))
    assert asked[-1] == (0.5, 0.5, 0.5, 0.5)


def test_module_that_is_there_and_broken_is_named_and_replaced(install, tmp_path, monkeypatch):
    install("tf_transformations", None)
    monkeypatch.delitem(sys.modules, "tf_transformations")
    (tmp_path / "tf_transformations.py").write_text("raise AttributeError('numpy has no attribute float')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(RuntimeWarning, match="tf_transformations is installed .* AttributeError: numpy has no"):
        quaternion = quaternions_from_matrices(np.eye(4)[None])
    assert np.array_equal(quaternion, [[0.0, 0.0, 0.0, 1.0]])


def test_quaternions_agree_with_tf_transformations(install):
    library = pytest.importorskip("tf_transformations", reason="tf_transformations is not installed")
    axes = np.eye(3)  # no turn, half turns, and turns close to these are where conversions lose digits
    special = np.concatenate([np.zeros((1, 3)), np.pi * axes, (np.pi - 1e-7) * axes, 1e-9 * axes])
    transforms = rigid(np.concatenate([special, np.random.default_rng(4).normal(size=(200, 3))]))
    theirs = np.array([library.quaternion_from_matrix(transform) for transform in transforms])
    install("tf_transformations", None)
    ours = quaternions_from_matrices(transforms)
    assert np.abs(np.einsum("ij,ij->i", ours, theirs)) == pytest.approx(1.0, abs=1e-12)
    assert (theirs[:, 3] >= 0.0).all() and (ours[:, 3] >= 0.0).all()
    for quaternion in ours:
        assert matrix_from_quaternion(quaternion) == pytest.approx(library.quaternion_matrix(quaternion), abs=1e-12)


@pytest.fixture
def node(domain_id):
    rclpy = pytest.importorskip("rclpy")
    pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = rclpy.create_node("broadcaster", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def heard(node, broadcaster) -> list:
    """Send two transforms and return the messages that arrive on /tf."""
    from geometry_msgs.msg import TransformStamped
    from rclpy.executors import SingleThreadedExecutor
    from tf2_msgs.msg import TFMessage

    messages: list = []
    subscription = node.create_subscription(TFMessage, "/tf", messages.append, 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end_s = time.monotonic() + 10.0
    while not broadcaster.pub_tf.get_subscription_count() and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.01)
    broadcaster.sendTransform([TransformStamped(child_frame_id=name) for name in ("can_1", "box_2")])
    while not messages and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.01)
    executor.shutdown()
    node.destroy_subscription(subscription)
    return messages


def test_transforms_go_out_as_one_message_without_tf2_ros(node, install):
    install("tf2_ros", None)
    (message,) = heard(node, transform_broadcaster(node))
    assert [item.child_frame_id for item in message.transforms] == ["can_1", "box_2"]


def test_broadcaster_agrees_with_tf2_ros(node):
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    seen = []
    for kind in (tf2_ros.TransformBroadcaster, PlainBroadcaster):
        broadcaster = kind(node)
        (info,) = node.get_publishers_info_by_topic("/tf")
        seen.append((info.topic_type, info.qos_profile, heard(node, broadcaster)))
        node.destroy_publisher(broadcaster.pub_tf)
    assert seen[0] == seen[1]


def test_tf2_ros_gets_the_node_and_lists_of_transforms_and_its_publisher_is_destroyed(install, make_bench):
    pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.qos import QoSProfile
    from tf2_msgs.msg import TFMessage

    from .camera_messages import image, info, send_until_processed
    from .conftest import EMPTY_PIXEL

    made = []

    class TransformBroadcaster:
        def __init__(self, node):
            self.node, self.sent = node, []
            self.pub_tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=1))
            made.append(self)

        def sendTransform(self, transform):
            self.sent.append(transform)

    install("tf2_ros", SimpleNamespace(TransformBroadcaster=TransformBroadcaster))
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.send(image(2, EMPTY_PIXEL), info(2))
    bench.wait(lambda: len(bench.received["detections"]) == 2, "the second image")
    (broadcaster,) = made
    assert broadcaster.node is bench.node
    assert [[item.child_frame_id for item in transforms] for transforms in broadcaster.sent] == [["box_1", "can_2"]]
    assert isinstance(broadcaster.sent[0], list)
    assert bench.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert bench.node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    bench.wait(lambda: bench.node.count_publishers("/tf") == 0, "the publisher to go")
