r"""Measure what attention brings to refinement, what more stages bring, and what stages of their own bring.

    python benchmarks/attention_ablation.py --bundle models/demo --plot docs/images/attention_ablation.png

Trains with the same number of pairs: a network that weighs cells by attention, one that averages over the object, and
two networks with attention and half of the pairs each, the first for large errors and the second for small ones, which
share the stages. Then refines disturbed poses in renders never trained on and prints, for 1 to 6 stages, the median
error in diameters, the share within 10 % of the diameter, both for little and for much occluded objects, and the time.
Training goes on where it was interrupted (--work).
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.pairs import PairConfig
from pose_estimation_ros.data.synthetic import CropConfig, CropSource
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.evaluation.metrics import add_error, adi_error
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.attention.settings import AttentionSettings
from pose_estimation_ros.methods.attention.training import ROLE, AttentionRecipe, train_attention
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.mesh import Mesh, sample_surface
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.training.crop_source import BankConfig
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun

STAGES = 6
CROP = 192  # side of the test images, pixels
HELD_OUT_SEED = 4321  # no training uses it
OCCLUDED = 0.65  # visible share below which a test object counts as much occluded


@dataclass(frozen=True)
class Variant:
    """What is trained."""

    attention: bool = True
    pairs: PairConfig = field(default_factory=PairConfig)
    share: float = 1.0  # of the pairs of the others


VARIANTS = {
    "attention": Variant(),
    "average": Variant(attention=False),
    "first stages": Variant(pairs=PairConfig(min_error_ratio=0.4), share=0.5),
    "last stages": Variant(pairs=PairConfig(max_error_ratio=0.5), share=0.5),
}


@dataclass(frozen=True)
class Case:
    """An image of one object, where it is and where it is thought to be."""

    frame: Frame
    object_index: int
    truth: np.ndarray  # (4, 4)
    start: np.ndarray  # (4, 4)
    visibility: float


def main() -> None:
    """Run the benchmark; print the table, write it and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--pairs", type=int, default=30_000, help="of each training")
    parser.add_argument("--views", type=int, default=900, help="views per object in the training's bank")
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--work", type=Path, default=Path("runs/attention_ablation"))
    parser.add_argument("--plot", type=Path, help="picture to draw")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/attention_ablation.py")
    bundle = load_bundle(arguments.bundle)
    networks = {name: trained(name, bundle, arguments) for name in VARIANTS}
    meshes = bundle.load_meshes(arguments.mesh_dir)
    cases = held_out(bundle, meshes, arguments.cases)
    refiners = {name: refiner(bundle, meshes, network) for name, network in networks.items()}
    errors = {name: refined(bundle, meshes, cases, [refiners[name]] * STAGES) for name in ("attention", "average")}
    unshared = [refiners["first stages"]] * 2 + [refiners["last stages"]] * (STAGES - 2)
    errors["unshared"] = refined(bundle, meshes, cases, unshared)
    milliseconds = {name: stage_time_ms(refiners[name], cases) for name in ("attention", "average")}
    milliseconds["unshared"] = milliseconds["attention"]
    visible = np.array([case.visibility for case in cases])
    rows = summary(errors, visible, milliseconds)
    if arguments.result:
        figures = {"cases": len(visible), "occluded": int((visible < OCCLUDED).sum()), "rows": rows}
        write_result(arguments.result, origin, figures, HELD_OUT_SEED)
    if arguments.plot:
        plot(errors, visible, arguments.plot)


def trained(name: str, bundle: Bundle, arguments: argparse.Namespace) -> AttentionNet:
    """Train a variant, or read it where it is finished."""
    variant = VARIANTS[name]
    recipe = AttentionRecipe(
        seed=0,
        samples=int(arguments.pairs * variant.share),
        network={"attention": variant.attention},
        pairs=variant.pairs,
        optimiser=OptimiserConfig(
            kind="muon", batch=16, learning_rate=1.2e-3, warmup_samples=1000, ema_samples=2000, weight_decay=0.02
        ),
        crops=CropConfig(masked_share=0.0, off_axis_deg=(0.0, 0.0), noise=0.03, image_side_px=(60.0, 260.0)),
        bank=BankConfig(views=arguments.views),
    )
    folder = arguments.work / name.replace(" ", "_")
    scratch = folder / "bundle"  # the bundle itself keeps its weights
    if not scratch.is_dir():
        shutil.copytree(bundle.path, scratch)
    updated = train_attention(TrainingRun(load_bundle(scratch), folder, arguments.mesh_dir, resume=True), recipe)
    if not updated.networks[ROLE].training["finished"]:
        raise KeyboardInterrupt
    return updated.load_network(ROLE, lambda _, **architecture: AttentionNet(**architecture), torch.device("cpu"))


def refiner(bundle: Bundle, meshes: list[Mesh], network: AttentionNet) -> Attention:
    """Return a refiner of one stage that never puts poses back."""
    outline = torch.from_numpy(np.stack([sample_surface(mesh, 256) for mesh in meshes])).float()
    settings = AttentionSettings(stages=1, max_rotation_deg=180.0, max_distance_ratio=10.0, rotation_hypotheses=0)
    return Attention(network, RayCaster(meshes), bundle.catalog, outline, AttentionRecipe().size, settings)


def held_out(bundle: Bundle, meshes: list[Mesh], count: int) -> list[Case]:
    """Make images from a bank with another seed, half of them with more and larger occluders."""
    seed = HELD_OUT_SEED
    bank = build_view_bank(
        list(bundle.catalog), meshes, bundle.pose_prior, 60, clutter_meshes(12, seed), 20, size=CROP, seed=seed
    )
    backgrounds = background_pool(60, seed=seed)
    config = CropConfig(size=CROP, roll_deg=bundle.pose_prior.roll_deg, masked_share=0.0, padding=2.0, noise=0.03)
    crowded = config.model_copy(update={"front_layers": 4, "bar_share": 0.6})
    generator = np.random.default_rng(seed)
    cases: list[Case] = []
    sources = [CropSource(bank, backgrounds, item, seed) for item in (config, crowded)]
    while len(cases) < count:
        batch = sources[(len(cases) // 16) % 2].batch(16)
        for number in range(len(batch)):
            rgb = np.ascontiguousarray(batch.images[number].permute(1, 2, 0).numpy())
            truth = batch.camera_from_object[number].double().numpy()
            index = int(batch.object_index[number])
            start = disturbed(truth, bundle.catalog[index].centre_m, bundle.catalog[index].diameter_m, generator)
            camera = Camera(batch.camera[number].double().numpy(), CROP, CROP)
            cases.append(Case(Frame(rgb, camera), index, truth, start, float(batch.visibility[number])))
    return cases[:count]


def disturbed(truth: np.ndarray, centre: np.ndarray, diameter: float, generator: np.random.Generator) -> np.ndarray:
    """Turn by 10 degrees an axis about the centre, move by 5 % of the diameter across, 5 % of the distance along."""
    pose = truth.copy()
    turn = Rotation.from_euler("xyz", generator.normal(0.0, 10.0, 3), degrees=True).as_matrix()
    pose[:3, :3] = turn @ truth[:3, :3]
    position = truth[:3, :3] @ centre + truth[:3, 3]
    position *= 1.0 + generator.normal(0.0, 0.05)
    position[:2] += generator.normal(0.0, 0.05 * diameter, 2)
    pose[:3, 3] = position - pose[:3, :3] @ centre
    return pose


def refined(bundle: Bundle, meshes: list[Mesh], cases: Sequence[Case], stages: Sequence[Attention]) -> np.ndarray:
    """Return the errors (cases, 1 + stages) in diameters: before, and after every stage."""
    points = [sample_surface(mesh, 1000) for mesh in meshes]
    errors = np.empty((len(cases), 1 + len(stages)))
    for row, case in enumerate(cases):
        model = bundle.catalog[case.object_index]
        measure = adi_error if model.is_symmetric else add_error
        hypothesis = PoseHypothesis(case.object_index, 0, case.start, 0.0)
        box = np.array([0.0, 0.0, CROP - 1.0, CROP - 1.0])
        for number in range(len(stages) + 1):
            pose = hypothesis.camera_from_object
            errors[row, number] = measure(points[case.object_index], pose, case.truth) / model.diameter_m
            if number < len(stages):
                detections = [Detection(case.object_index, 1.0, box)]
                hypothesis = stages[number].refine(case.frame, detections, [hypothesis])[0]
    return errors


def stage_time_ms(refiner: Attention, cases: Sequence[Case], objects: int = 8, repeats: int = 10) -> float:
    """Return the milliseconds per object of one stage with eight objects at once, the median of some runs."""
    hypotheses = [PoseHypothesis(case.object_index, row, case.start, 0.0) for row, case in enumerate(cases[:objects])]
    detections = [Detection(case.object_index, 1.0, np.zeros(4)) for case in cases[:objects]]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        refiner.refine(cases[0].frame, detections, hypotheses)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times)) / objects


def summary(errors: dict[str, np.ndarray], visible: np.ndarray, milliseconds: dict[str, float]) -> Rows:
    """Return a row per variant and number of stages."""
    hidden, rows = visible < OCCLUDED, Rows()
    for name, table in errors.items():
        for stages, column in enumerate(table.T):
            rows.add(
                network=name,
                stages=stages,
                median=float(np.median(column)),
                median_occluded=float(np.median(column[hidden])),
                within=float((column < 0.1).mean()),
                within_occluded=float((column[hidden] < 0.1).mean()),
                ms=milliseconds[name] * stages,
            )
    return rows


def plot(errors: dict[str, np.ndarray], visible: np.ndarray, path: Path) -> None:
    """Draw the share within 10 % of the diameter over the number of stages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    parts = {"all": np.ones(len(visible), bool), f"less than {OCCLUDED:.0%} visible": visible < OCCLUDED}
    for axis, (title, chosen) in zip(figure.subplots(1, 2, sharey=True), parts.items(), strict=True):
        for name, table in errors.items():
            axis.plot((table[chosen] < 0.1).mean(axis=0), marker="o", label=name)
        axis.set(title=title, xlabel="stages", ylim=(0.0, 1.0))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("share within 0.1 d")
    figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
