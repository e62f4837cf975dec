r"""Measure the claim of the Deep Heatmaps paper: patches that vote lose less to an occluder than a whole-crop network.

    python benchmarks/occlusion_curve.py --bundle models/demo --plot docs/images/occlusion_curve.png

Trains four networks on the same crops for the same number of samples: patches and whole crops, each without and with
occluders in its training images. Then covers 0 to 70 % of the visible object in renders never trained on, and prints
the median error of the control points, the share found within 5 pixels, and the share of poses within 10 % of the
diameter. Training goes on where it was interrupted (--work).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pose_estimation_ros.data.occluders import cover
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig, CropSource
from pose_estimation_ros.evaluation.metrics import add_error, adi_error
from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.pnp import solve_pnp
from pose_estimation_ros.methods.heatmaps.estimator import find_peaks
from pose_estimation_ros.methods.heatmaps.settings import HeatmapsSettings
from pose_estimation_ros.methods.heatmaps.training import (
    HeatmapsRecipe,
    HeatmapsStep,
    control_points,
    target_votes,
    vote_losses,
)
from pose_estimation_ros.networks.encoder import ResNetEncoder
from pose_estimation_ros.networks.heatmap_net import (
    HeatmapNet,
    accumulate,
    cells_along,
    first_cell,
    patch_grid,
    spread_patches,
    votes_to_heatmaps,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import load_mesh, sample_surface
from pose_estimation_ros.training.batch_stream import batch_stream
from pose_estimation_ros.training.canonical_poses import CanonicalPoses
from pose_estimation_ros.training.crop_source import BankConfig, crop_maker, load_bank, object_weights, open_bank
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer

SIZE = 128
POINTS = 8
LEVELS = tuple(range(0, 80, 10))  # percent
FOUND_PX = 5.0
HELD_OUT_SEED = 4321  # no training uses it
WHOLE_CANVAS = (cells_along(patch_grid(SIZE)) + 1) // 2  # the same cells as those of all patches of a crop together


class WholeCropNet(nn.Module):
    """The rival: one network that looks at the whole crop and casts one vote per control point, on a larger canvas."""

    control_points: Tensor

    def __init__(self, objects: int, points: int = POINTS, hidden: int = 512) -> None:
        super().__init__()
        self.points = points
        self.encoder = ResNetEncoder((48, 96, 144, 192))
        self.embedding = nn.Embedding(objects, 64)
        self.read = nn.Linear(self.encoder.channels[-1] * (SIZE // 32) ** 2 + 64, hidden)
        self.out = nn.Linear(hidden, points * (WHOLE_CANVAS**2 + 1))
        nn.init.normal_(self.out.weight, std=1e-3)
        self.register_buffer("control_points", torch.zeros(objects, points, 3))

    def log_votes(self, crops: Tensor, object_index: Tensor) -> Tensor:
        """Return logarithms of votes (B, 1, points, WHOLE_CANVAS ** 2 + 1) of crops (B, 3, SIZE, SIZE)."""
        features = self.encoder(crops)[-1].flatten(1)
        hidden = torch.relu(self.read(torch.cat([features, self.embedding(object_index).to(features.dtype)], dim=1)))
        return self.out(hidden).reshape(len(crops), 1, self.points, -1).float().log_softmax(dim=-1)


class WholeCropStep:
    """The losses of the patches, for a whole crop."""

    def __init__(self, bundle: Bundle, recipe: HeatmapsRecipe) -> None:
        self.canonical = CanonicalPoses(bundle.catalog)
        self.recipe = recipe

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss."""
        assert isinstance(network, WholeCropNet)
        with autocast(torch.device("cpu")):
            log_votes = network.log_votes(pixels_of(batch), batch.object_index)
        where = true_points(batch, network.control_points, self.canonical)
        centres = torch.full((len(batch), 1, 2), (SIZE - 1) / 2.0)
        shows = torch.ones(len(batch), 1, dtype=torch.bool)
        entropy, squared = vote_losses(log_votes, target_votes(where, centres, shows, WHOLE_CANVAS))
        loss = self.recipe.entropy * entropy + self.recipe.squared * squared
        return loss, {"entropy": entropy.detach(), "squared": squared.detach()}


def pixels_of(batch: CropBatch) -> Tensor:
    """Return the crops as the networks take them."""
    return batch.images.float().div(255.0).contiguous(memory_format=torch.channels_last)


def true_points(batch: CropBatch, points: Tensor, canonical: CanonicalPoses) -> Tensor:
    """Return the pixels (B, K, 2) of the control points in the crops."""
    poses = canonical(batch.camera_from_object, batch.object_index)
    return project_points(points[batch.object_index], poses, batch.camera)


def train(
    name: str, bundle: Bundle, occluders: bool, arguments: argparse.Namespace
) -> tuple[Callable[[CropBatch], Tensor], float]:
    """Train a network, or read it; return what draws its heatmaps and its milliseconds per crop of inference."""
    whole = name.startswith("whole")
    torch.manual_seed(0)
    optimiser = OptimiserConfig(kind="muon", batch=16, learning_rate=1e-3, warmup_samples=2000, ema_samples=4000)
    config = crop_config(bundle, occluders)
    bank_config = BankConfig(views=arguments.views)
    folder = arguments.work / name
    bank, backgrounds = open_bank(bundle, bank_config, 0, folder, arguments.mesh_dir, "cpu")
    network: Any = WholeCropNet(len(bundle.catalog)) if whole else HeatmapNet(len(bundle.catalog), POINTS)
    network.control_points.copy_(control_points(bundle, bundle.load_meshes(arguments.mesh_dir), 0))
    network = network.to(memory_format=torch.channels_last).train()
    recipe = HeatmapsRecipe(optimiser=optimiser, patches=48, surface_points=0)
    step: Any = WholeCropStep(bundle, recipe) if whole else HeatmapsStep(bundle, recipe, torch.device("cpu"))
    trainer = Trainer(network, optimiser, arguments.samples, folder, resume=True)
    if trainer.samples < arguments.samples:
        weights = object_weights(bundle, {})
        make = partial(crop_maker, bank, backgrounds, config, weights)
        batches = batch_stream(make, 0, trainer.steps, optimiser.batch, 1)
        if not trainer.train(batches, step, arguments.samples, name):
            raise KeyboardInterrupt
    network.load_state_dict(trainer.averaged_state())
    network.eval()
    chosen = spread_patches(patch_grid(SIZE), 64)[None]

    def heatmaps(batch: CropBatch) -> Tensor:
        with torch.inference_mode(), autocast(torch.device("cpu")):
            if whole:
                votes = network.log_votes(pixels_of(batch), batch.object_index)
                return accumulate(votes_to_heatmaps(votes), torch.zeros(len(batch), 1, dtype=torch.long), 1)
            every = chosen.expand(len(batch), -1)
            votes = network(pixels_of(batch), batch.object_index, every) ** HeatmapsSettings().vote_exponent
            return accumulate(votes, every, patch_grid(SIZE))

    return heatmaps, _milliseconds(heatmaps, bank, backgrounds, config)


def _milliseconds(heatmaps: Callable[[CropBatch], Tensor], bank: Any, backgrounds: Tensor, config: CropConfig) -> float:
    batch = CropSource(bank, backgrounds, config, 1).batch(16)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        heatmaps(batch)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / 16 * 1000.0


def measure(
    heatmaps: Callable[[CropBatch], Tensor], batches: list[CropBatch], bundle: Bundle, arguments: argparse.Namespace
) -> list[dict[str, float]]:
    """Return the figures at every level of occlusion."""
    canonical = CanonicalPoses(bundle.catalog)
    points = control_points(bundle, bundle.load_meshes(arguments.mesh_dir), 0)
    surfaces = [
        sample_surface(load_mesh(bundle.mesh_path(index, arguments.mesh_dir), model.mesh_unit), 500)
        for index, model in enumerate(bundle.catalog)
    ]
    backgrounds = open_backgrounds()
    rows = []
    for level in LEVELS:
        generator = torch.Generator().manual_seed(level)
        errors, within = [], []
        for batch in batches:
            shares = torch.full((len(batch),), level / 100.0)
            covered = replace(batch, images=cover(batch.images, batch.mask_visible, shares, backgrounds, generator))
            peaks = find_peaks(heatmaps(covered), 1, first_cell())
            pixels = peaks.pixels[:, :, 0]
            errors.append(torch.linalg.norm(pixels - true_points(batch, points, canonical), dim=2))
            within += _poses_within(covered, pixels, peaks.heights[:, :, 0], points, surfaces, bundle)
        joined = torch.cat(errors)
        rows.append(
            {
                "occlusion": level,
                "median_px": float(joined.median()),
                "found": float((joined < FOUND_PX).float().mean()),
                "add_0_1d": float(np.mean(within)),
            }
        )
    return rows


def open_backgrounds() -> Tensor:
    """Return pictures that no training used."""
    from pose_estimation_ros.data.backgrounds import background_pool

    return background_pool(60, seed=HELD_OUT_SEED)


def _poses_within(
    batch: CropBatch, pixels: Tensor, heights: Tensor, points: Tensor, surfaces: list[np.ndarray], bundle: Bundle
) -> list[bool]:
    within = []
    for number in range(len(batch)):
        index = int(batch.object_index[number])
        model = bundle.catalog[index]
        weights = heights[number].double().numpy()
        result = solve_pnp(
            pixels[number].double().numpy(),
            points[index].double().numpy(),
            batch.camera[number].double().numpy(),
            weights=np.sqrt(np.maximum(weights, 1e-9) / max(float(weights.max()), 1e-9)),
            threshold_px=0.06 * SIZE,
            iterations=500,
        )
        if result is None:
            within.append(False)
            continue
        truth = batch.camera_from_object[number].double().numpy()
        distance = (adi_error if model.is_symmetric else add_error)(surfaces[index], result.camera_from_object, truth)
        within.append(bool(distance < 0.1 * model.diameter_m))
    return within


def crop_config(bundle: Bundle, occluders: bool) -> CropConfig:
    """Return how crops are made; twice as wide as the object, as the backend cuts them."""
    config = CropConfig(size=SIZE, padding=2.0, roll_deg=bundle.pose_prior.roll_deg, masked_share=0.0, noise=0.03)
    config = config.model_copy(update={"image_side_px": (80.0, 300.0)})
    return config if occluders else config.model_copy(update={"front_layers": 0, "bar_share": 0.0})


def held_out(bundle: Bundle, arguments: argparse.Namespace) -> list[CropBatch]:
    """Make crops without occluders from views that no training used."""
    bank = load_bank(
        bundle, BankConfig(views=60), HELD_OUT_SEED, arguments.work / "held_out", arguments.mesh_dir, "cpu"
    )
    source = CropSource(bank, open_backgrounds(), crop_config(bundle, False), HELD_OUT_SEED)
    return [source.batch(16) for _ in range(arguments.crops // 16)]


def plot(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw error and recall against occlusion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4))
    keys = (("median_px", "median error, px of 128"), ("found", "found within 5 px"), ("add_0_1d", "ADD(-S) 0.1d"))
    for axis, (key, label) in zip(axes, keys, strict=True):
        for name, rows in results.items():
            axis.plot([row["occlusion"] for row in rows], [row[key] for row in rows], marker="o", label=name)
        axis.set_xlabel("occlusion, %")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--objects", nargs="*", help="names of the objects to take; all if left out")
    parser.add_argument("--samples", type=int, default=30_000, help="crops per network")
    parser.add_argument("--views", type=int, default=600, help="views per object in the bank")
    parser.add_argument("--crops", type=int, default=320, help="held-out crops per level")
    parser.add_argument("--work", type=Path, default=Path("runs/occlusion_curve"))
    parser.add_argument("--plot", type=Path, help="picture to draw")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/occlusion_curve.py")
    bundle = load_bundle(arguments.bundle)
    if arguments.objects:
        chosen = tuple(model for model in bundle.catalog if model.name in arguments.objects)
        bundle = replace(bundle, catalog=Catalog(chosen))
    (arguments.work / "pix2pose").mkdir(parents=True, exist_ok=True)  # where the networks share their bank of views
    batches = held_out(bundle, arguments)
    results, costs = {}, {}
    for name, occluders in (
        ("patches", False),
        ("patches, occluders", True),
        ("whole crop", False),
        ("whole crop, occluders", True),
    ):
        heatmaps, costs[name] = train(name, bundle, occluders, arguments)
        results[name] = measure(heatmaps, batches, bundle, arguments)
        for row in results[name]:
            print(f"{name:24s}", json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)
    print("milliseconds per crop:", {name: round(value, 2) for name, value in costs.items()})
    if arguments.result is not None:
        levels = zip(*results.values(), strict=True)
        rows = [{"occlusion": level[0]["occlusion"], **dict(zip(results, level, strict=True))} for level in levels]
        write_result(arguments.result, origin, {"rows": rows, "ms_per_crop": costs}, HELD_OUT_SEED)
    if arguments.plot is not None:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
