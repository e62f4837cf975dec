"""pose_demo: play images to a real ROS 2 graph, watch the poses come out, and compare them with the ground truth.

Player, pose node and recorder are processes of their own that talk over DDS. scripts/demo.sh prepares the machine and
runs this.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.cli.graph import Graph, GraphError
from pose_estimation_ros.cli.live_table import LiveTable
from pose_estimation_ros.cli.settings_options import add_settings_option, method_help, settings_of
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.results import Origin, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.settings import dump_yaml, parse_assignments

POSE_NODE = ["-m", "pose_estimation_ros.ros.start"]
_PLAY = ["-m", "pose_estimation_ros.ros.play_node"]
_RECORD = ["-m", "pose_estimation_ros.ros.record_node"]
_START_S, _DISCOVERY_S = 240.0, 90.0
_PROBE_IMAGES, _PROBE_RATE_HZ = 5, 0.7
_HEADROOM = 1.2  # the period of the images as a multiple of the slowest frame seen before
_RATES_HZ = (0.1, 15.0)


@dataclass(frozen=True)
class Plan:
    """What is played to whom."""

    bundle: Bundle
    bop: Path
    split: str
    dataset: BopDataset
    track: bool
    output: Path
    transport: str


def main(argv: list[str] | None = None, node_command: list[str] | None = None) -> int:
    """Run the demo; return 0 only if poses came out.

    Args:
        argv: command line without the program's name.
        node_command: what Python is to run as the pose node, in place of the real one.
    """
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments, node_command or POSE_NODE, origin_of("pose_demo", argv))
    except KeyboardInterrupt:
        print("pose_demo: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, GraphError) as error:
        print(f"pose_demo: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_demo", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bundle", default="demo", help="folder or name of a bundle (default: demo)")
    parser.add_argument(
        "--bop", type=Path, metavar="DIR", help="play this data set (default: the bundle's own sequence)"
    )
    parser.add_argument("--split", default="test", help="split of the data set (default: test)")
    parser.add_argument(
        "--mesh-dir", type=Path, help="meshes that the bundle does not ship (default: models/ of --bop)"
    )
    parser.add_argument("--backend", help=f"pose estimator: {method_help('backend')}")
    parser.add_argument("--refiner", help=f"refiner: {method_help('refiner')}")
    add_settings_option(parser)
    parser.add_argument(
        "--tracking-mode", choices=("detect", "refine"),
        help="refine: refine the poses of the frame before and detect now and then; needs a refiner",
    )  # fmt: skip
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--score-threshold", type=float, help="least detection score")
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="images per second (default: what this machine can take)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="play only the first N images")
    parser.add_argument(
        "--track", choices=("auto", "on", "off"), default="auto",
        help="keep identities and smooth over time; auto: on for the bundle's own sequence, off for --bop, whose "
        "images have nothing to do with each other",
    )  # fmt: skip
    parser.add_argument(
        "--transport", choices=("raw", "compressed"), default="compressed",
        help="images over DDS; a busy machine loses raw ones, which travel in many pieces (default: compressed)",
    )  # fmt: skip
    add_result_option(parser)
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder to write (default: out/demo)")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    bundle = load_bundle(arguments.bundle)
    bop = arguments.bop or bundle.path / "sequence"
    if not bop.is_dir():
        raise ValueError(f"{bop}: not found; this bundle has no sequence of its own, give images with --bop DIR")
    if arguments.rate is not None and not arguments.rate > 0:
        raise ValueError(f"--rate {arguments.rate:g}: expected more than 0 images per second")
    if arguments.count is not None and arguments.count < 1:
        raise ValueError(f"--count {arguments.count}: expected at least 1")
    if importlib.util.find_spec("rclpy") is None:
        raise ValueError("rclpy is not on the path; run scripts/demo.sh, or source scripts/env.sh first")
    settings_of(arguments, bundle)  # mistakes are told before anything starts
    track = arguments.bop is None if arguments.track == "auto" else arguments.track == "on"
    return Plan(
        bundle, bop, arguments.split, BopDataset(bop, arguments.split), track, arguments.output, arguments.transport
    )


def _run(arguments: argparse.Namespace, node_command: list[str], origin: Origin) -> int:
    from pose_estimation_ros.cli.demo_report import finish

    plan = _plan(arguments)
    _clean(plan.output)
    names = ", ".join(model.name for model in plan.bundle.catalog)
    print(f"bundle {plan.bundle.name}: {names}\nimages {plan.bop}/{plan.split}: {len(plan.dataset.images)}", flush=True)
    with Graph(plan.output / "logs") as graph:
        print(f"starting the pose node on ROS_DOMAIN_ID {graph.domain_id} ...", flush=True)
        graph.start("pose_node", node_command + _node_parameters(arguments, plan))
        line = graph.wait_for_line(
            "pose_node", lambda text: "ready after" in text or "not configured" in text, _START_S
        )
        if "not configured" in line:
            raise GraphError(f"pose_node: {line.split('not configured: ', 1)[-1]}")
        print(line.split("]: ", 1)[-1], flush=True)
        rate_hz = arguments.rate or _sustainable_rate(graph, plan)
        print(f"playing at {rate_hz:.2f} images per second\n", flush=True)
        _play_and_record(graph, plan, rate_hz, arguments.count)
        if not graph.is_running("pose_node"):
            raise GraphError(f"pose_node: ended while images came in; see {plan.output / 'logs'}")
        codes = {name: graph.stop(name) for name in ("recorder", "pose_node")}
    for name, code in codes.items():
        if code != 0:
            raise GraphError(f"{name}: exit code {code}; see {plan.output / 'logs' / name}.log")
    report = finish(plan.bundle, plan.dataset, plan.output, rate_hz)
    if arguments.result is not None:
        write_result(arguments.result, origin, report)
    return 0 if report["poses"] else 1


def _node_parameters(arguments: argparse.Namespace, plan: Plan) -> list[str]:
    mesh_dir = arguments.mesh_dir
    if mesh_dir is None and plan.bundle.meshes is None and (plan.bop / "models").is_dir():
        mesh_dir = plan.bop / "models"
    values: dict[str, Any] = {
        "bundle": str(plan.bundle.path.resolve()),
        "mesh_dir": str(mesh_dir.resolve()) if mesh_dir else "",
        "tracking.enabled": plan.track,
        "image_transport": plan.transport,
    }
    chosen = {
        "backend": arguments.backend,
        "refiner": arguments.refiner,
        "device": arguments.device,
        "detector.score_threshold": arguments.score_threshold,
        "tracking.mode": arguments.tracking_mode,
    }
    values |= {name: value for name, value in chosen.items() if value is not None}
    run = settings_of(arguments, plan.bundle).values()
    values |= {name: run[name] for name in parse_assignments(arguments.assignments).values}
    return ["--ros-args", *(item for name in values for item in ("-p", f"{name}:={dump_yaml(values[name])}"))]


def _play_command(plan: Plan, rate_hz: float, count: int | None, stamps: Path) -> list[str]:
    command = [
        *_PLAY,
        "--bop",
        str(plan.bop),
        "--split",
        plan.split,
        "--rate",
        f"{rate_hz:.4f}",
        "--stamps",
        str(stamps),
    ]
    command += ["--transport", plan.transport]
    return [*command, "--wait-subscribers", "1", *(["--count", str(count)] if count else [])]


def _sustainable_rate(graph: Graph, plan: Plan) -> float:
    """Send a few images slowly and return the rate that the node can take without dropping any."""
    recording, stamps = plan.output / "logs" / "probe.json", plan.output / "logs" / "probe_stamps.json"
    graph.start("probe_recorder", [*_RECORD, "--json", str(recording)])
    graph.wait_for_line("probe_recorder", _hears_the_node, _DISCOVERY_S)
    graph.start("probe_player", _play_command(plan, _PROBE_RATE_HZ, _PROBE_IMAGES, stamps))
    graph.wait("probe_player", _START_S)
    _wait_for_silence(graph, "probe_recorder", 5.0)
    graph.stop("probe_recorder")
    frames = json.loads(recording.read_text())["frames"]
    seconds = [1e-9 * (item["receive_ns"] - item["stamp_ns"]) for item in frames if item["receive_ns"]]
    if not seconds:
        raise GraphError(
            f"pose_node: no answer to {_PROBE_IMAGES} images; see {plan.output / 'logs' / 'pose_node.log'}"
        )
    # The first image finds caches cold.
    return float(np.clip(1.0 / (_HEADROOM * max(seconds[1:] or seconds)), *_RATES_HZ))


def _play_and_record(graph: Graph, plan: Plan, rate_hz: float, count: int | None) -> None:
    table = LiveTable()
    output = plan.output
    record = [
        *_RECORD,
        "--mcap",
        str(output / "demo.mcap"),
        "--json",
        str(output / "logs" / "recording.json"),
        "--table",
    ]
    graph.start("recorder", record, table.add)
    graph.wait_for_line("recorder", _hears_the_node, _DISCOVERY_S)
    graph.start("player", _play_command(plan, rate_hz, count, output / "logs" / "played.json"))
    images = min(count or len(plan.dataset.images), len(plan.dataset.images))
    code = graph.wait("player", 60.0 + 2.0 * images / rate_hz)
    if code != 0:
        raise GraphError(f"player: exit code {code}; see {output / 'logs' / 'player.log'}")
    _wait_for_silence(graph, "recorder", max(3.0, 3.0 / rate_hz))
    table.close()


def _hears_the_node(line: str) -> bool:
    """Tell whether a line of the recorder says that it and the pose node have found each other."""
    return "hears " in line


def _wait_for_silence(graph: Graph, name: str, seconds: float) -> None:
    """Wait for frames that are still in work."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and graph.is_running(name):
        time.sleep(0.1)


def _clean(output: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    left = [output / name for name in ("report.json", "demo.mcap", "demo.mp4")]
    left += [*(output / "overlay").glob("*.png"), *(output / "logs").glob("*.log"), *(output / "logs").glob("*.json")]
    for path in left:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
