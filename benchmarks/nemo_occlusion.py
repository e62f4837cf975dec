r"""Measure what neural mesh models lose under occlusion, on CAD instances that no training saw.

    python benchmarks/nemo_occlusion.py --categories ../shared/data/category_cad --plot docs/images/nemo_occlusion.png

The bundle names the meshes that trainings see; the others in the folders of its categories are for the test (with
--seen: the same ones, for comparison). All methods start from the encoder of the bundle's pix2pose network and train on
the same crops for the same number of samples, without occluders in the foreground: one cuboid per category, one per
instance, the instances' own shapes, one cuboid without the contrastive loss, and a network that classifies the pose.
One cuboid is measured without the occluder model, too. Test crops are covered by 0, 20-40, 40-60 and 60-80 %. Training
goes on where it was interrupted (--work). Scores are kept there, too, until weights or test change, and are then said
to be; after a change of the code delete the folder's .json files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pose_classifier import SIZE, PoseClassifier, classifier_step, pixels_of, rotations_from
from torch import Tensor

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.occluders import cover
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig, CropSource
from pose_estimation_ros.data.view_bank import ViewBank, build_view_bank
from pose_estimation_ros.evaluation.metrics import rotation_scores
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.rotations import geodesic_distance
from pose_estimation_ros.methods.nemo.estimator import Nemo
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.methods.nemo.settings import NemoSettings
from pose_estimation_ros.methods.nemo.training import NemoRecipe, train_nemo
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle, save_bundle
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.training.batch_stream import batch_stream
from pose_estimation_ros.training.crop_source import BankConfig, crop_maker, load_matching, object_weights, open_bank
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun

LEVELS = {"L0": (0.0, 0.0), "L1": (0.2, 0.4), "L2": (0.4, 0.6), "L3": (0.6, 0.8)}
BOX_NOISE = 0.03  # deviation of the edges of the boxes, in sides
SEED = 4321  # of the test; no training uses it
OPTIMISER = OptimiserConfig(kind="muon", batch=16, learning_rate=1e-3, warmup_samples=1000, ema_samples=1500)


@dataclass(frozen=True)
class Method:
    """What is trained, and how poses are read from it."""

    trained: str  # name of the training; some methods share one
    recipe: dict[str, object]
    occlusion: bool = True


METHODS = {
    "cuboid": Method("cuboid", {"shape": "cuboid"}),
    "multi-cuboid": Method("multi", {"shape": "multi"}),
    "mesh": Method("mesh", {"shape": "detailed"}),
    "cuboid, no occluder model": Method("cuboid", {"shape": "cuboid"}, occlusion=False),
    "cuboid, not contrastive": Method("plain", {"shape": "cuboid", "contrastive": False}),
    "pose classifier": Method("classifier", {}),
}


def crop_config(bundle: Bundle) -> CropConfig:
    """Return how crops without occluders are made."""
    return CropConfig(
        size=SIZE,
        roll_deg=bundle.pose_prior.roll_deg,
        image_side_px=(60.0, 260.0),
        noise=0.03,
        masked_share=0.0,
        front_layers=0,
        bar_share=0.0,
        painted=1.0,
    )


def open_bundle(name: str, arguments: argparse.Namespace) -> Bundle:
    """Return the bundle that a training writes into, a copy of the one that is given."""
    path = arguments.work / name / "bundle"
    if not path.is_dir():
        shutil.copytree(find_bundle(arguments.bundle), path)
        (path / "nemo.safetensors").unlink(missing_ok=True)
        bundle = load_bundle(path)
        save_bundle(replace(bundle, networks={key: bundle.networks[key] for key in bundle.networks if key != "nemo"}))
    return load_bundle(path)


def train(method: Method, arguments: argparse.Namespace) -> Bundle | PoseClassifier:
    """Train a method, or read what was trained before."""
    bundle = open_bundle(method.trained, arguments)
    folder = arguments.work / method.trained
    views = BankConfig(views=arguments.views)
    if method.trained != "classifier":
        trained = bundle.networks.get("nemo")
        if trained is not None and trained.training.get("samples", 0) >= arguments.samples:
            return bundle
        recipe = NemoRecipe.model_validate(
            {
                "samples": arguments.samples,
                "size": SIZE,
                "network": {"stride": 4, "frozen": True},
                "optimiser": OPTIMISER,
                "crops": crop_config(bundle),
                "bank": views,
                **method.recipe,
            }
        )
        made = train_nemo(TrainingRun(bundle, folder, arguments.categories, "cpu", resume=True), recipe)
        if not made.networks["nemo"].training["finished"]:
            raise KeyboardInterrupt
        return made
    torch.manual_seed(0)
    network = PoseClassifier(len(bundle.catalog))
    load_matching(network, str(bundle.path), "pix2pose")
    network = network.to(memory_format=torch.channels_last).train()
    trainer = Trainer(network, OPTIMISER, arguments.samples, folder, resume=True)
    if trainer.samples < arguments.samples:
        bank, backgrounds = open_bank(bundle, views, 0, folder, arguments.categories, "cpu")
        weights = object_weights(bundle, {})
        make = partial(crop_maker, bank, backgrounds, crop_config(bundle), weights)
        batches = batch_stream(make, 0, trainer.steps, OPTIMISER.batch, 1)
        if not trainer.train(batches, classifier_step, arguments.samples, "classifier"):
            raise KeyboardInterrupt
    network.load_state_dict(trainer.averaged_state())
    return network.eval()


def test_bank(bundle: Bundle, folder: Path, views: int, seen: bool) -> ViewBank:
    """Cast views of the instances that no training saw, or of those that it did see."""
    meshes, owner = [], []
    for index, model in enumerate(bundle.catalog):
        used = {str(item) for item in (model.mesh, *model.instances)}
        files = sorted((folder / Path(model.mesh).parent).glob("*.ply"))
        wanted = [file for file in files if (str(file.relative_to(folder)) in used) == seen]
        if not wanted:
            trained = "trained" if seen else "did not train"
            raise ValueError(f"{folder / Path(model.mesh).parent}: no mesh that the bundle {trained} on")
        meshes += [load_mesh(file, model.mesh_unit) for file in wanted]
        owner += [index] * len(wanted)
    return build_view_bank(list(bundle.catalog), meshes, bundle.pose_prior, views, [], 0, seed=SEED, owner=owner)


def estimate(method: Method, trained: Bundle | PoseClassifier, batch: CropBatch, boxes: np.ndarray) -> Tensor:
    """Return the rotations (B, 3, 3) that a method sees in crops."""
    if isinstance(trained, PoseClassifier):
        with torch.inference_mode():
            return rotations_from(trained(pixels_of(batch), batch.object_index), batch.camera)
    network = trained.load_network("nemo", NemoNet, torch.device("cpu"))
    backend = Nemo(network, SIZE, trained.pose_prior, NemoSettings(occluder_model=method.occlusion))
    square = torch.tensor([[(SIZE - 1) / 2.0, (SIZE - 1) / 2.0, float(SIZE)]]).expand(len(batch), 3)
    crops = Crops(batch.images.float() / 255.0, batch.camera, batch.object_index, square)
    found = []
    for rows in torch.arange(len(batch)).split(16):
        part = Crops(crops.pixels[rows], crops.camera[rows], crops.object_index[rows], crops.square[rows])
        found.append(backend.fit(backend.predict(part), part, boxes[rows.numpy()], (SIZE * 9, SIZE * 9)).pose)
    return torch.cat(found)[:, :3, :3]


def test_crops(bundle: Bundle, arguments: argparse.Namespace) -> tuple[CropBatch, np.ndarray]:
    """Return crops of unseen instances, or with --seen of the others, and noisy boxes (B, 4) in their pixels."""
    bank = test_bank(bundle, arguments.categories, max(40, arguments.cases), arguments.seen)
    source = CropSource(bank, background_pool(60, seed=SEED), crop_config(bundle), SEED)
    batch = source.batch(arguments.cases)
    pixels = project_points(bank.outline[batch.mesh_index], batch.camera_from_object, batch.camera)
    low, high = pixels.amin(dim=1), pixels.amax(dim=1)
    noise = torch.randn(len(batch), 4, generator=torch.Generator().manual_seed(SEED)) * BOX_NOISE
    boxes = torch.cat([low, high], dim=1) + noise * (high - low).amax(dim=1, keepdim=True)
    return batch, boxes.numpy()


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of all methods at all levels."""
    (arguments.work / "pix2pose").mkdir(parents=True, exist_ok=True)  # all trainings share the bank that is kept there
    batch, boxes = test_crops(open_bundle("cuboid", arguments), arguments)
    pictures = background_pool(60, seed=SEED + 1)
    results: dict[str, dict[str, dict[str, float]]] = {}
    rows = Rows()
    for name, method in METHODS.items():
        if arguments.only and name not in arguments.only:
            continue
        trained = train(method, arguments)
        weights = hashlib.sha256((arguments.work / method.trained / "checkpoint.pt").read_bytes()).hexdigest()
        identity = [weights, arguments.cases]
        kept = (
            arguments.work
            / f"{'seen' if arguments.seen else 'unseen'}_{name.replace(', ', '_').replace(' ', '_')}.json"
        )
        before = json.loads(kept.read_text()) if kept.is_file() else {}
        if before.get("identity") != identity:
            scores = {level: score(method, trained, batch, boxes, pictures, level) for level in LEVELS}
            before = {"identity": identity, "scores": scores}
            kept.write_text(json.dumps(before))
        else:
            print(f"{kept}: measured before", file=sys.stderr)
        results[name] = before["scores"]
        figures = {f"{level}_{key}": value for level in LEVELS for key, value in results[name][level].items()}
        rows.add(method=name, **figures)
    return results


def score(
    method: Method, trained: Bundle | PoseClassifier, batch: CropBatch, boxes: np.ndarray, pictures: Tensor, level: str
) -> dict[str, float]:
    """Return the scores of a method in crops of which a share is covered."""
    low, high = LEVELS[level]
    generator = torch.Generator().manual_seed(SEED)
    shares = low + (high - low) * torch.rand(len(batch), generator=generator)
    covered = replace(batch, images=cover(batch.images, batch.mask_visible, shares, pictures, generator))
    rotations = estimate(method, trained, covered, boxes)
    errors = geodesic_distance(rotations.double(), batch.camera_from_object[:, :3, :3].double())
    return rotation_scores(errors.numpy())


def plot(results: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw accuracy against occlusion."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    centre = [50.0 * (low + high) for low, high in LEVELS.values()]
    for axis, (key, title) in zip(
        axes, (("acc_pi_6", "within 30 degrees"), ("acc_pi_18", "within 10 degrees")), strict=True
    ):
        for name, scores in results.items():
            axis.plot(centre, [100.0 * scores[level][key] for level in LEVELS], marker="o", label=name)
        axis.set(xlabel="occluded share of the object, %", ylabel="poses, %", title=title, ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--categories", type=Path, required=True, help="folder with one folder of meshes per category")
    parser.add_argument(
        "--bundle", default="category", help="has categories and a pix2pose network (default: category)"
    )
    parser.add_argument("--samples", type=int, default=16_000, help="crops of each training (default: 16000)")
    parser.add_argument("--views", type=int, default=600, help="views per category (default: 600)")
    parser.add_argument("--cases", type=int, default=1920, help="crops of the test (default: 1920)")
    parser.add_argument("--seen", action="store_true", help="test on the instances that trainings saw, for comparison")
    parser.add_argument("--only", nargs="*", choices=sorted(METHODS), help="measure only these methods")
    parser.add_argument("--work", type=Path, default=Path("runs/nemo_occlusion"), help="checkpoints")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/nemo_occlusion.py")
    results = measure(arguments)
    if arguments.result is not None:
        rows = [{"method": name, **scores} for name, scores in results.items()]
        write_result(arguments.result, origin, {"cases": arguments.cases, "rows": rows}, SEED)
    if arguments.plot is not None:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
