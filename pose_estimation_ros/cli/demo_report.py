"""What a demo run gave: poses against the ground truth, speed, pictures and a film, from the files of the recorder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.localisation import object_points, target_errors
from pose_estimation_ros.evaluation.machine import describe_machine
from pose_estimation_ros.evaluation.scores import target_rows
from pose_estimation_ros.objects.bundle import Bundle

STAGES = ("detection", "crops", "pose", "refinement", "verification", "tracking", "total")
WELL_VISIBLE = 0.6  # share of an instance's silhouette
ADD_SHARE = 0.1  # of the diameter


@dataclass(frozen=True)
class Run:
    """What was played and what came back."""

    played: dict[int, tuple[int, int]]  # stamp in nanoseconds -> scene, image
    frames: tuple[dict[str, Any], ...]  # of the recorder, those that were played and answered
    node: dict[str, str]  # the node's last diagnostics

    @property
    def answered(self) -> set[tuple[int, int]]:
        """Scene and image of the frames that were processed."""
        return {self.played[frame["stamp_ns"]] for frame in self.frames}


def finish(bundle: Bundle, dataset: BopDataset, output: Path, rate_hz: float) -> dict[str, Any]:
    """Write report, overlays and film, print the summary, and return the report."""
    run = read_run(output / "logs")
    rows = compare(run, bundle, dataset)
    report = summarise(run, rows, bundle, dataset, rate_hz)
    pictures = write_pictures(output, run, max(rate_hz, 1.0))
    report["overlays"] = pictures
    (output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(format_summary(report, output))
    if report["poses"] == 0:
        print(f"pose_demo: no poses came out: {run.node.get('reason') or 'see the logs'}")
    return report


def read_run(logs: Path) -> Run:
    """Read what the player and the recorder have written.

    Raises:
        ValueError: if the player played nothing.
    """
    if not (logs / "played.json").is_file():
        raise ValueError(f"{logs / 'played.json'}: not found; the player published nothing")
    played = {
        int(item["stamp_ns"]): (int(item["scene_id"]), int(item["image_id"]))
        for item in json.loads((logs / "played.json").read_text())
    }
    recording = json.loads((logs / "recording.json").read_text())
    frames = [item for item in recording["frames"] if item["stamp_ns"] in played and item["receive_ns"] is not None]
    diagnostics = recording["diagnostics"]
    return Run(played, tuple(frames), diagnostics[-1]["values"] if diagnostics else {})


def compare(run: Run, bundle: Bundle, dataset: BopDataset) -> list[dict[str, Any]]:
    """Compare the poses of all played images with the ground truth; one row per instance at least 10 % visible."""
    keys = set(run.played.values())
    images = [image for image in dataset.images if image.key in keys]
    known = {model.object_id for model in bundle.catalog}
    targets = [target for target in targets_from(images) if target.object_id in known]
    estimates = list(_estimates(run, bundle))
    models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in targets})
    rows = target_rows(target_errors(dataset, targets, estimates, models), models)
    answered = run.answered
    for row in rows:
        row["processed"] = (row["scene_id"], row["image_id"]) in answered
    return rows


def _estimates(run: Run, bundle: Bundle) -> Iterator[Estimate]:
    for frame in run.frames:
        scene_id, image_id = run.played[frame["stamp_ns"]]
        for item in frame["objects"]:
            index = bundle.catalog.index_of_name(item["class"])
            if index is not None:
                pose = np.asarray(item["camera_from_object"], dtype=np.float64)
                yield Estimate(scene_id, image_id, bundle.catalog[index].object_id, float(item["score"]), pose)


def summarise(
    run: Run, rows: list[dict[str, Any]], bundle: Bundle, dataset: BopDataset, rate_hz: float
) -> dict[str, Any]:
    """Return the report: accuracy on well visible instances, speed, drops, and how it was measured."""
    latencies = [1e-6 * ((item["tf_receive_ns"] or item["receive_ns"]) - item["stamp_ns"]) for item in run.frames]
    answers = [item["receive_ns"] for item in run.frames]
    span_s = 1e-9 * (max(answers) - min(answers)) if len(answers) > 1 else 0.0
    visible = [row for row in rows if row["visibility"] >= WELL_VISIBLE]
    processed = [row for row in visible if row["processed"]]
    names = {model.object_id: model.name for model in bundle.catalog}
    objects = {
        name: _score([row for row in processed if row["object_id"] == object_id])
        for object_id, name in names.items()
        if any(row["object_id"] == object_id for row in processed)
    }
    return {
        "recall_add_0_1d": _score(processed)["recall_add_0_1d"],
        "recall_add_0_1d_all_frames": _score(visible)["recall_add_0_1d"],
        "instances": len(processed),
        "objects": objects,
        "fps": (len(answers) - 1) / span_s if span_s > 0 else None,
        "play_rate_hz": rate_hz,
        "latency_ms_p50": float(np.percentile(latencies, 50)) if latencies else None,
        "latency_ms_p95": float(np.percentile(latencies, 95)) if latencies else None,
        "stage_ms_p50": {stage: _number(run.node.get(f"{stage}_ms")) for stage in STAGES},
        "node_latency_ms_p50": _number(run.node.get("latency_ms_p50")),
        "node_overhead_ms_p50": _number(run.node.get("overhead_ms")),
        "frames_in": len(run.played),
        "frames_processed": len(run.frames),
        "frames_dropped": len(run.played) - len(run.frames),
        "poses": sum(len(item["objects"]) for item in run.frames),
        "transforms": sum(len(item["transforms"]) for item in run.frames),
        "bundle": bundle.name,
        "data_set": os.path.relpath(dataset.root),  # as from where the command runs
        "machine": describe_machine(),
        "definitions": {
            "recall_add_0_1d": "share of the instances at least 60 % visible, in the frames processed, whose ADD "
            "(ADD-S for symmetric objects) is below a tenth of the diameter; instances without a pose count as wrong",
            "latency_ms": "stamp of the image at publication to receipt of its transforms by the recorder; of "
            "its empty detections where no pose came out",
            "stage_ms_p50": "the node's own clock, from its diagnostics",
        },
    }


def _score(rows: list[dict[str, Any]]) -> dict[str, Any]:
    shares = [row["add_s_diameters"] for row in rows]
    found = [row["translation"] for row in rows if row["translation"] is not None]
    right = [share for share in shares if share is not None and share < ADD_SHARE]
    return {
        "instances": len(rows),
        "recall_add_0_1d": len(right) / len(rows) if rows else None,
        "found": len(found) / len(rows) if rows else None,
        "median_translation_mm": 1000.0 * float(np.median(found)) if found else None,
        "median_rotation_deg": _median_deg(rows),
    }


def _median_deg(rows: list[dict[str, Any]]) -> float | None:
    angles = [row["rotation_symmetric"] for row in rows if row["rotation_symmetric"] is not None]
    return float(np.degrees(np.median(angles))) if angles else None


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def write_pictures(output: Path, run: Run, rate_hz: float) -> int:
    """Write the overlays that the node published as PNG and as a film; return their number."""
    folder = output / "overlay"
    folder.mkdir(parents=True, exist_ok=True)
    film, count, size = None, 0, (0, 0)
    several = len({scene for scene, _ in run.played.values()}) > 1
    for stamp_ns, pixels in read_overlays(output / "demo.mcap"):
        if stamp_ns not in run.played:
            continue
        scene_id, image_id = run.played[stamp_ns]
        name = f"{scene_id:06d}_{image_id:06d}.png" if several else f"{image_id:06d}.png"
        cv2.imwrite(str(folder / name), pixels[..., ::-1])
        if film is None:
            size = (pixels.shape[1], pixels.shape[0])
            film = cv2.VideoWriter(str(output / "demo.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, size)
        film.write(cv2.resize(np.ascontiguousarray(pixels[..., ::-1]), size))
        count += 1
    if film is not None:
        film.release()
    return count


def read_overlays(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stamp in nanoseconds and image (H, W, 3) uint8 of every overlay in an MCAP file, in the order of time."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            if channel.topic.endswith("/overlay"):
                rows = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.step)
                pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
                yield message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec, pixels


def format_summary(report: dict[str, Any], output: Path) -> str:
    """Return the report as a table for the terminal."""
    lines = ["", f"{'object':<14}{'instances':>10}{'found %':>9}{'ADD(-S) < 0.1d %':>18}{'t mm':>8}{'rot deg':>9}"]
    entries = {**report["objects"], "all": None}
    for name, scores in entries.items():
        if scores is None:
            lines.append(f"{'all':<14}{report['instances']:>10}{'':>9}{_percent(report['recall_add_0_1d']):>18}")
            continue
        lines.append(
            f"{name:<14}{scores['instances']:>10}{_percent(scores['found']):>9}{_percent(scores['recall_add_0_1d']):>18}"
            f"{_figure(scores['median_translation_mm']):>8}{_figure(scores['median_rotation_deg']):>9}"
        )
    lines += [f"(instances at least {WELL_VISIBLE:.0%} visible; medians of those found)", ""]
    counts = ", ".join(f"{key} {report[f'frames_{key}']}" for key in ("in", "processed", "dropped"))
    rates = f"{_figure(report['fps'], 2)} a second, images came at {report['play_rate_hz']:.2f}"
    median, most = _figure(report["latency_ms_p50"]), _figure(report["latency_ms_p95"])
    overhead = _figure(report["node_overhead_ms_p50"])
    lines += [
        f"frames      {counts}; {rates}",
        f"latency     image to TF over DDS: median {median} ms, 95 % below {most} ms; node overhead {overhead} ms",
        "stages ms   " + "  ".join(f"{name} {_figure(value)}" for name, value in report["stage_ms_p50"].items()),
        f"written     {output}/report.json, demo.mcap, demo.mp4, overlay/ ({report['overlays']} pictures), logs/",
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f}"


def _figure(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
