"""Measure how fast training images are made: crops and scenes per second, by size and device.

    python benchmarks/generator.py [--device cuda] [--seconds 5]

Uses the meshes of models/demo. One process, one thread on a CPU; a training run adds worker processes.
"""

from __future__ import annotations

import argparse
import itertools
import time

import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.hand_scenes import HandCropConfig, HandCropDraw, HandCrops, HandSceneConfig
from pose_estimation_ros.data.scenes import SceneBatch, SceneConfig
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.training.batch_stream import Draw
from pose_estimation_ros.training.crop_source import crop_maker
from pose_estimation_ros.training.reproducibility import Draws, place_seed
from pose_estimation_ros.training.scene_training import scene_maker


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="time per row")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/generator.py", device=torch.device(arguments.device))
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.bundle)
    models = list(bundle.catalog)
    meshes = [load_mesh(bundle.mesh_path(index), model.mesh_unit) for index, model in enumerate(models)]
    started = time.perf_counter()
    bank = build_view_bank(models, meshes, bundle.pose_prior, 50, clutter_meshes(8), 10, device=arguments.device)
    rows = Rows()
    rows.add(what="ray-cast views, 112 px", per_second=len(bank.object_index) / (time.perf_counter() - started))
    backgrounds = background_pool(40).to(bank.surface.device)
    batch = 512 if bank.surface.is_cuda else 16
    for size in (64, 96, 128):
        draw = crop_maker(bank, backgrounds, CropConfig(size=size), torch.ones(bank.known))
        rows.add(what=f"crops, {size} px", per_second=_rate(draw, batch, arguments.seconds))
    hands = HandCropDraw(HandSceneConfig(), HandCropConfig())
    rows.add(what="hands, 64 px", per_second=_rate(hands, 16, arguments.seconds))
    scenes = scene_maker(bank, backgrounds, SceneConfig())
    rows.add(what="scenes, 384x288 px", per_second=_rate(scenes, 4, arguments.seconds))
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


def _rate(draw: Draw[CropBatch] | Draw[SceneBatch] | Draw[HandCrops], batch: int, seconds: float) -> float:
    """Return samples per second, every batch from a seed of its own as in a training."""
    draw(0, batch)
    made, started = 0, time.perf_counter()
    for number in itertools.count():
        made += len(draw(place_seed(0, Draws.BATCHES, number), batch))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if time.perf_counter() - started > seconds:
            break
    return made / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
