"""Measure the node `hands` over DDS: depth images of moving hands come in at the rate of a camera, joints go out on TF.

    python benchmarks/hands_over_dds.py [--bundle models/hands] [--hands 1 2] [--images 300] [--rate 30]

The node, the camera and this process, which waits for the joints, talk over DDS. The camera's images are 640x480,
16UC1, with the noise of a structured-light sensor and a wall behind the hands. Latency is from the stamp of an image,
which it gets when it is published, to the receipt of its transforms; the rate is that of the images that the node
answers. Images that the node did not receive were lost by DDS, which nobody tells it of. Exit code 2 if one of the
processes fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from math import tau
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_estimation_ros.cli.graph import Graph, GraphError
from pose_estimation_ros.data.depth_noise import DepthNoise, add_depth_noise
from pose_estimation_ros.data.hand_skeleton import (
    Articulations,
    HandShapes,
    place_bones,
    sample_articulations,
    sample_shapes,
    view_rotations,
)
from pose_estimation_ros.data.hand_skin import cover
from pose_estimation_ros.data.nyu_hand import CAMERA
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import BundleError, load_bundle
from pose_estimation_ros.rendering.spheres import sphere_depth

# Of all processes, as users have it: with LOCALHOST, which `Graph` says, DDS loses large images.
DISCOVERY = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
NODE = [
    "-c",
    f"import os, sys; os.environ.update({DISCOVERY});"
    "from pose_estimation_ros.ros.start import hands; sys.exit(hands())",
]
LOGS = Path("out/hands_over_dds")
PATIENCE_S = 300.0
SETTLE_S = 2.0  # before the first image and after the last one
_SEED = 5
_FRAMES = 60  # of the motion, which begins anew after them
_CHUNK = 4  # frames drawn at once
_APART_M = 0.34  # palms of two hands
_WALL_M = 1.6
_MM = 1000.0


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/hands", help="(default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--hands", type=int, nargs="+", choices=(1, 2), default=[1, 2], help="in every image")
    parser.add_argument("--images", type=int, default=300, help="of every number of hands (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second (default: %(default)s)")
    parser.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    add_result_option(parser)
    options = parser.parse_args(argv)
    if options.camera:
        return run_camera(moving_hands(options.hands[0]), options.images, options.rate)
    origin = origin_of("python benchmarks/hands_over_dds.py", argv)
    rows = Rows()
    try:
        bundle = load_bundle(options.bundle).path.resolve()
        for hands in options.hands:
            rows.add(hands=hands, **measure(hands, bundle, options))
    except (BundleError, GraphError) as error:
        print(f"hands_over_dds.py: error: {error}", file=sys.stderr)
        return 2
    if options.result:
        write_result(options.result, origin, {"rate_hz": options.rate, "rows": rows}, _SEED)
    return 0


def moving_hands(count: int) -> np.ndarray:
    """Draw right hands side by side that move, turn and bend, millimetres, shape (frames, 480, 640) uint16."""
    generator = torch.Generator().manual_seed(_SEED)
    drawn = [_hand((number - (count - 1) / 2) * _APART_M, generator) for number in range(count)]
    intrinsics = torch.from_numpy(CAMERA.intrinsics).float()
    images = []
    for start in range(0, _FRAMES, _CHUNK):
        part = slice(start, start + _CHUNK)
        depth = torch.full((_CHUNK, CAMERA.height, CAMERA.width), _WALL_M)
        matrices = intrinsics.expand(_CHUNK, 3, 3)
        for centres, radii in drawn:
            hand = sphere_depth(centres[part], radii[part], matrices, CAMERA.height, CAMERA.width)
            depth = torch.minimum(depth, hand)
        seen = add_depth_noise(depth, matrices, DepthNoise(), generator)
        images.append(torch.where(seen.isinf(), 0.0, _MM * seen).round().numpy().astype(np.uint16))
    return np.concatenate(images)


def _hand(x: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the spheres of a hand in every frame: centres (frames, N, 3) and radii (frames, N), metres."""
    phase = torch.arange(_FRAMES) * (tau / _FRAMES)
    sine, cosine = phase.sin(), phase.cos()
    shape = sample_shapes(1, generator)
    shapes = HandShapes(*(value.expand(_FRAMES, *value.shape[1:]) for value in vars(shape).values()))
    ends = sample_articulations(2, generator)
    share = 0.5 - 0.5 * cosine
    angles = Articulations(*(_between(value, share) for value in vars(ends).values()))
    rotation = view_rotations(15.0 * sine, 15.0 + 10.0 * cosine, 20.0 * sine - 20.0)
    place = torch.stack([x + 0.04 * sine, 0.03 * (2.0 * phase).sin(), 0.65 + 0.05 * cosine], dim=1)
    return cover(shapes, place_bones(shapes, angles).with_palms_at(rotation, place))


def _between(ends: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return values (frames, ...) between two of them (2, ...), by shares (frames,)."""
    return torch.lerp(ends[:1], ends[1:], share.view(-1, *[1] * (ends.dim() - 1)))


def run_camera(depth: np.ndarray, count: int, rate_hz: float) -> int:
    """Publish depth images, over and over, as soon as somebody subscribes to them and to camera_info."""
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.camera_info import info_from_camera
    from pose_estimation_ros.ros.images import byte_array

    os.environ.update(DISCOVERY)
    height, width = depth.shape[1:]
    pixels = [byte_array(np.ascontiguousarray(image).view(np.uint8)) for image in depth]
    rclpy.init()
    node = Node("depth_camera")
    images, infos = node.create_publisher(Image, "image", 5), node.create_publisher(CameraInfo, "camera_info", 5)
    while not (images.get_subscription_count() and infos.get_subscription_count()):
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(SETTLE_S)
    due_s = time.monotonic()
    for data in itertools.islice(itertools.cycle(pixels), count):
        time.sleep(max(0.0, due_s - time.monotonic()))
        due_s = max(due_s + 1.0 / rate_hz, time.monotonic())  # late: go on from here, never in a burst
        header = Header(frame_id="camera", stamp=node.get_clock().now().to_msg())
        infos.publish(info_from_camera(CAMERA, header))
        images.publish(Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width, data=data))
    time.sleep(SETTLE_S)
    node.destroy_node()
    rclpy.shutdown()
    return 0


class Listener:
    """Notes when the answers to images arrive."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from tf2_msgs.msg import TFMessage
        from vision_msgs.msg import Detection3DArray

        self.answers_ns: list[int] = []  # receipt, with or without hands
        self.latencies_ns: dict[int, int] = {}  # of transforms, by the stamp of the image
        self.status: Any = None  # the newest of the node
        self.node = rclpy.create_node("hands_over_dds")
        self.node.create_subscription(TFMessage, "/tf", self._on_tf, 100)
        self.node.create_subscription(Detection3DArray, "/hands/detections", self._on_detections, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def _on_tf(self, message: Any) -> None:
        from pose_estimation_ros.ros.messages import stamp_to_ns

        stamp_ns = stamp_to_ns(message.transforms[0].header.stamp)
        self.latencies_ns.setdefault(stamp_ns, self._now_ns() - stamp_ns)

    def _on_detections(self, message: Any) -> None:
        self.answers_ns.append(self._now_ns())

    def _on_diagnostics(self, message: Any) -> None:
        self.status = message.status[0]

    def figures(self) -> dict[str, Any]:
        """Return what the answers amount to."""
        latency_ms = np.array(list(self.latencies_ns.values())) / 1e6
        values = {item.key: item.value for item in self.status.values}
        return {
            "received": int(values["frames_received"]),
            "processed": len(self.answers_ns),
            "on_tf": len(latency_ms),
            "per_second": (len(self.answers_ns) - 1) / ((self.answers_ns[-1] - self.answers_ns[0]) / 1e9),
            "latency_ms_p50": float(np.percentile(latency_ms, 50)),
            "latency_ms_p95": float(np.percentile(latency_ms, 95)),
            "search_ms_p50": float(values["search_ms"]),
            "joints_ms_p50": float(values["joints_ms"]),
        }


def measure(hands: int, bundle: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start node and camera, and listen until the last image.

    Raises:
        GraphError: if one of them fails, or hardly anything comes.
    """
    import rclpy

    parameters = [f"bundle:={bundle}", f"device:={options.device}"]
    sizes = ["--hands", str(hands), "--images", str(options.images), "--rate", str(options.rate)]
    with Graph(LOGS) as graph:
        os.environ.update(ROS_DOMAIN_ID=str(graph.domain_id), **DISCOVERY)
        rclpy.init()
        listener = Listener()
        graph.start("node", [*NODE, "--ros-args", *(word for item in parameters for word in ("-p", item))])
        graph.start("camera", [__file__, "--camera", *sizes])
        deadline_s = time.monotonic() + PATIENCE_S + options.images / options.rate
        while graph.is_running("camera") and graph.is_running("node") and time.monotonic() < deadline_s:
            rclpy.spin_once(listener.node, timeout_sec=0.1)
        listener.node.destroy_node()
        rclpy.shutdown()
        is_whole = graph.is_running("node") and graph.wait("camera", 1.0) == 0
        if not is_whole or len(listener.latencies_ns) < 2 or listener.status is None:
            raise GraphError(f"joints of {len(listener.latencies_ns)} of {options.images} images came; see {LOGS}")
    return {"images": options.images, **listener.figures()}


if __name__ == "__main__":
    sys.exit(main())
