"""A catalog, a pipeline that needs no networks, and a real node with a client on a DDS domain of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel

EMPTY_PIXEL = 13  # an image that starts with this value shows nothing
BROKEN_PIXEL = 66  # an image that starts with this value breaks the pipeline
WAIT_S = 10.0
# Said of `lost_cuda`.
LOST = "CUDA is unusable until the node is started again: RuntimeError: CUDA error: device-side assert triggered"


def make_pose(index: int, name: str, track_id: int, camera_from_object: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        object_index=index,
        track_id=track_id,
        camera_from_object=camera_from_object,
        score=0.9 - 0.1 * index,
        covariance=None if index else np.diag([1e-4, 2e-4, 3e-4, 0.01, 0.02, 0.03]),
        box=np.array([10.0, 20.0, 50.0, 80.0]) + 100.0 * index,
        mask=None,
        inliers=50,
    )


def rigid(axis: str, degrees: float, position: tuple[float, float, float]) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    matrix[:3, 3] = position
    return matrix


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    off_centre = ((0.0, -0.02, -0.03), (0.1, 0.02, 0.05))
    return Catalog(
        (
            ObjectModel(1, "box", 0.137, off_centre, Path("box.ply")),
            ObjectModel(5, "can", 0.1, ((-0.03, -0.03, -0.04), (0.03, 0.03, 0.04)), Path("can.ply"), mesh_unit="mm"),
        )
    )


@pytest.fixture
def poses() -> list[SimpleNamespace]:
    return [
        make_pose(0, "box", 1, rigid("z", 90.0, (0.1, -0.05, 0.8))),
        make_pose(1, "can", 2, rigid("x", 180.0, (-0.1, 0.0, 0.6))),
    ]


@dataclass
class FakePipeline:
    """Stand in for the networks: two objects in every image, none in an image that starts with EMPTY_PIXEL."""

    poses: list[Any]
    seconds: float = 0.0
    score_threshold: float = 0.5
    min_pose_score: float = 0.0
    objects: tuple[str, ...] = ()
    tracks: list[Any] = field(default_factory=list)  # what is known of the instances
    previous: Any = None  # the pipeline whose tracks go on
    frames: list[Frame] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    resets: int = 0
    detected_anew: int = 0
    drawn: int = 0
    drawing_s: float = 0.0
    error: Exception | None = None  # raised by the next frame
    debug_names: tuple[str, ...] = ("votes", "glances")

    @property
    def lowest_score(self) -> float:
        return max(self.min_pose_score, 0.0)

    def draw_debug(self, result: Any, names: Collection[str]) -> dict[str, np.ndarray]:
        self.drawn += 1
        time.sleep(self.drawing_s)
        plain = np.ones_like(self.frames[-1].rgb)
        pictures = {"votes": 7 * len(result.detections) * plain, "glances": 9 * plain}
        return {name: pictures[name] for name in names}

    def process(self, frame: Frame) -> SimpleNamespace:
        self.frames.append(frame)
        self.thresholds.append(self.score_threshold)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if frame.rgb[0, 0, 0] == BROKEN_PIXEL:
            raise RuntimeError(f"the network is on fire in frame {len(self.frames)}")
        start_s = time.perf_counter()
        time.sleep(self.seconds)
        empty = frame.rgb[0, 0, 0] == EMPTY_PIXEL
        poses = [] if empty else list(self.poses)
        detections = [Detection(pose.object_index, 0.8, pose.box) for pose in poses]
        timings = {"detection": self.seconds, "total": time.perf_counter() - start_s}
        return SimpleNamespace(
            poses=poses,
            detections=detections,
            timings_s=timings,
            tracks=self.tracks,
            reason="nothing above 0.5" if empty else None,
        )

    def reset_tracks(self) -> None:
        self.resets += 1

    def detect_anew(self) -> None:
        self.detected_anew += 1

    def continue_tracks(self, previous: Any) -> None:
        self.previous = previous


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Any], None]]:
    """Return a function that makes a module of the ecosystem another one, or absent (None), until the test ends."""
    from pose_estimation_ros.ros import ecosystem

    choices = (ecosystem.cv_bridge, ecosystem.tf_transformations, ecosystem.tf2_ros)

    def choose_anew() -> None:
        for choice in choices:
            choice.cache_clear()

    def put(name: str, module: Any) -> None:
        monkeypatch.setitem(sys.modules, name, module)
        choose_anew()

    yield put
    choose_anew()


class Bench:
    """A node spinning in a thread, and a client that publishes images and keeps what comes out.

    `make` makes the node, whose name is `name`, with the arguments of rclpy's nodes.
    """

    def __init__(self, context: Any, make: Callable, name: str = "pose_estimation", **parameters: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image
        from tf2_msgs.msg import TFMessage
        from vision_msgs.msg import Detection2DArray, Detection3DArray
        from visualization_msgs.msg import MarkerArray

        overrides = [Parameter(key, value=value) for key, value in {"diagnostics_period_s": 0.1, **parameters}.items()]
        self.name = name
        self.node = make(context=context, parameter_overrides=overrides)
        self.client = Node("client", context=context)
        self._executors = [SingleThreadedExecutor(context=context) for _ in range(2)]
        self._executors[0].add_node(self.node)
        self._executors[1].add_node(self.client)
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._spin, args=(executor,), daemon=True) for executor in self._executors
        ]
        self.received: dict[str, list[Any]] = {}
        self._clients: dict[str, Any] = {}
        for topic, message_type in (
            ("/tf", TFMessage),
            (f"/{name}/detections", Detection3DArray),
            (f"/{name}/detections_2d", Detection2DArray),
            (f"/{name}/markers", MarkerArray),
            ("/diagnostics", DiagnosticArray),
        ):
            self.listen(topic, message_type)
        self.image_topic = self.client.create_publisher(Image, "image", 5)
        self.compressed_topic = self.client.create_publisher(CompressedImage, "image/compressed", 5)
        self.info_topic = self.client.create_publisher(CameraInfo, "camera_info", 5)
        for thread in self._threads:
            thread.start()

    def listen(self, topic: str, message_type: type) -> None:
        kept = self.received.setdefault(topic.rsplit("/", 1)[-1], [])
        self.client.create_subscription(message_type, topic, kept.append, 50)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return the condition's value once it is true."""
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            value = condition()
            if value:
                return value
            time.sleep(0.005)
        raise AssertionError(f"waited {WAIT_S:g} s in vain for {what}; diagnostics: {self.status_message()}")

    def wait_until_connected(self) -> None:
        self.wait(lambda: self.node.state == "active", "an active node")
        topics = (self.image_topic, self.info_topic)
        self.wait(lambda: all(topic.get_subscription_count() for topic in topics), "subscriptions")
        outputs = ("/tf", f"/{self.name}/detections", f"/{self.name}/markers")
        self.wait(lambda: all(self.client.count_publishers(topic) for topic in outputs), "publishers")
        time.sleep(0.1)  # discovery is known to one side before the other

    def send(self, image: Any, info: Any) -> None:
        self.info_topic.publish(info)
        self.image_topic.publish(image)

    def status(self) -> Any:
        return self.received["diagnostics"][-1].status[0] if self.received["diagnostics"] else None

    def status_message(self) -> str:
        status = self.status()
        return status.message if status else ""

    def value(self, key: str) -> str:
        status = self.status()
        return next((item.value for item in status.values if item.key == key), "") if status else ""

    def call(self, service_type: type, name: str, request: Any) -> Any:
        future = self.call_async(service_type, name, request)
        self.wait(future.done, f"an answer of {name}")
        return future.result()

    def call_async(self, service_type: type, name: str, request: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self.client.create_client(service_type, name)
            assert self._clients[name].wait_for_service(WAIT_S), name
        return self._clients[name].call_async(request)

    def _spin(self, executor: Any) -> None:
        while self.client.context.ok() and not self._closed.is_set():
            executor.spin_once(timeout_sec=0.5)

    def close(self) -> None:
        self._closed.set()
        for executor, thread in zip(self._executors, self._threads, strict=True):
            executor.wake()
            thread.join(WAIT_S)
            assert not thread.is_alive(), "an executor still spins"
            executor.shutdown()  # it destroys what a thread that spins waits for
        self.node.release()
        self.node.destroy_node()
        self.client.destroy_node()


@pytest.fixture(scope="session")
def domain_id() -> int:
    """Keep test runs on one machine apart."""
    return 10 + os.getpid() % 90


@pytest.fixture
def lost_cuda(monkeypatch: pytest.MonkeyPatch) -> RuntimeError:
    """Return what PyTorch raises, on a machine with a GPU too, once an assertion has failed in a kernel."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    return RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")


@pytest.fixture
def pipeline(poses: list[SimpleNamespace]) -> FakePipeline:
    return FakePipeline(poses)


@pytest.fixture
def make_bench(domain_id: int, pipeline: FakePipeline, catalog: Catalog) -> Iterator[Callable[..., Bench]]:
    """Return a function that starts a node with given parameters, and perhaps a pipeline factory."""
    import rclpy

    from pose_estimation_ros.ros.loading import LoadedPipeline
    from pose_estimation_ros.ros.pose_node import PoseNode

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    benches: list[Bench] = []

    def make(factory: Callable | None = None, **parameters: Any) -> Bench:
        debug = {"debug_names": pipeline.debug_names, "draw_debug": pipeline.draw_debug}
        loaded = LoadedPipeline(pipeline, catalog, {"box": "file:///box.ply"}, **debug)
        values = {name.replace("__", "."): value for name, value in parameters.items()}
        benches.append(Bench(context, partial(PoseNode, factory or (lambda _: loaded)), **values))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
    context.try_shutdown()
