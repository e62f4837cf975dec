#!/usr/bin/env python3
"""Render a sequence of objects that cross in front of each other, in BOP layout with ground truth.

    .venv/bin/python scripts/make_crossing_sequence.py --output runs/crossing [--frames 1000]
    python benchmarks/identities.py --bundle models/demo --bop runs/crossing --loops 1

The camera stands still and looks across the table. Every object goes to and fro in a lane of its own, at its own pace,
so that instances of one object hide and pass each other time and again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from demo_scene import Body, Scene
from make_demo_sequence import CAMERA, SEED, looking_at, sensor, solid_of, surroundings, write_models
from tqdm import tqdm

from pose_estimation_ros.data.bop_writer import BopWriter
from pose_estimation_ros.objects.bundle import Bundle, load_bundle

EYE, TARGET = (0.0, -0.72, 0.34), (0.0, 0.0, 0.03)  # metres, of the table
REACH_M = 0.19  # of the lanes from their middle
Lanes = tuple[tuple[str, float, float, float, float], ...]
# name, y of the lane in metres, frames to and fro, where on the way at the start (0 to 1), yaw in degrees
LANES: Lanes = (
    ("toy_brick", -0.12, 170, 0.00, 20.0),
    ("duckling", -0.02, 230, 0.40, 160.0),
    ("toy_brick", 0.07, 210, 0.55, -35.0),
    ("duckling", 0.16, 190, 0.80, 200.0),
    ("toy_brick", 0.25, 250, 0.25, 65.0),
)


def drawn_lanes(seed: int) -> Lanes:
    """Return lanes in which the same objects go in another order, at other paces, turned otherwise."""
    generator = np.random.default_rng(seed)
    names = generator.permutation([name for name, *_ in LANES])
    periods, yaws = generator.uniform(150.0, 270.0, len(LANES)), generator.uniform(-180.0, 180.0, len(LANES))
    phases, places = generator.uniform(0.0, 1.0, len(LANES)), [place for _, place, *_ in LANES]
    return tuple(zip(names.tolist(), places, periods.tolist(), phases.tolist(), yaws.tolist(), strict=True))


def place(bundle: Bundle, lanes: Lanes, frame: int) -> tuple[list[Body], list[tuple[int, np.ndarray]]]:
    """Return the bodies at one frame, and the object id with world_from_object (4, 4) of each."""
    found = [
        solid_of(bundle, name, REACH_M * np.sin(2.0 * np.pi * (frame / period + phase)), lane, yaw_deg, 0.0)
        for name, lane, period, phase, yaw_deg in lanes
    ]
    return [body for body, _ in found], [pose for _, pose in found]


def main() -> int:
    """Render the sequence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="models/demo", help="bundle whose objects are shown")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, replaced")
    parser.add_argument("--frames", type=int, default=1000, help="number of images (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="draw other lanes than the usual ones; from 0 on")
    parser.add_argument("--samples", type=int, default=1, help="rays per pixel and axis (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.seed is not None and arguments.seed < 0:
        parser.error(f"--seed {arguments.seed}: expected 0 or more")
    bundle = load_bundle(arguments.bundle)
    lanes = LANES if arguments.seed is None else drawn_lanes(arguments.seed)
    view, others = looking_at(np.array(EYE), np.array(TARGET)), surroundings()[:2]
    generator = np.random.default_rng(SEED)
    shutil.rmtree(arguments.output, ignore_errors=True)
    with BopWriter(arguments.output, image_suffix=".jpg") as writer:
        for number in tqdm(range(arguments.frames), unit="image"):
            bodies, poses = place(bundle, lanes, number)
            scene = Scene(bodies + others)
            image = sensor(scene.render(CAMERA, view, arguments.samples, generator), generator)
            visible, full = scene.masks(CAMERA, view, len(bodies))
            writer.add(image, CAMERA, [(object_id, view @ pose) for object_id, pose in poses], visible, full)
    write_models(bundle, arguments.output / "models_eval")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
