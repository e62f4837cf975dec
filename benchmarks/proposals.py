"""Measure detector `proposals` on renderings of objects that its network was not trained on, and fit its scores.

    python benchmarks/proposals.py --network models/generic --bundle models/demo
    python benchmarks/proposals.py --network models/generic --bop runs/held_out --known 8 --clutter runs/held_out_meshes
    python benchmarks/proposals.py ... --fit

Of the objects at least a quarter visible: how many are proposed with a box that overlaps theirs by .5 and by .75, how
many of those proposals are most like the right object, how many objects are named right, and how many false names
there are per image.
Names count from a score of .5 on. The first `--known` objects are looked for, the others are foreign, as are the
meshes of `--clutter`. `--fit` prints the settings that make the scores probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from tqdm import tqdm

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.data.pose_scenes import PoseScene, PoseSceneConfig, PoseSceneSource
from pose_estimation_ros.evaluation.detection_ap import box_iou
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.proposals.detector import Proposals, load
from pose_estimation_ros.methods.proposals.matching import name_probabilities
from pose_estimation_ros.methods.proposals.settings import ProposalsSettings
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog, catalog_from_bop
from pose_estimation_ros.objects.mesh import Mesh, load_mesh
from pose_estimation_ros.settings import parse_assignments

SEED = 8123  # no recipe uses it
MIN_VISIBILITY = 0.25
NAMED = 0.5  # score
CPU = torch.device("cpu")
PRIOR = PosePrior(elevation_deg=(0.0, 90.0), roll_deg=(-45.0, 45.0), distance_m=(0.4, 1.2))
FITTED = ("sharpness", "rejected_similarity", "objectness_weight")


@dataclass(frozen=True)
class Case:
    """Objects that are looked for, and others."""

    catalog: Catalog
    meshes: list[Mesh]
    mesh_dir: Path
    prior: PosePrior
    foreign: list[Mesh]


@dataclass(frozen=True)
class Judged:
    """The B proposals of one image, beside the N objects that are there."""

    similarity: np.ndarray  # (B, O)
    objectness: np.ndarray  # (B,)
    overlap: np.ndarray  # (B, N) of boxes
    truth: np.ndarray  # (N,) into the catalog
    visibility: np.ndarray  # (N,)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", required=True, help="bundle with the network `proposals`")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", help="bundle with objects and meshes")
    source.add_argument("--bop", type=Path, help="or a folder with BOP models")
    parser.add_argument("--known", type=int, help="so many of them are looked for (default: all)")
    parser.add_argument("--clutter", type=Path, help="folder of foreign meshes (default: made-up shapes alone)")
    parser.add_argument("--backgrounds", type=Path, help="folder of pictures, half of the backgrounds")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--fit", action="store_true", help="print settings that make the scores probabilities")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="NAME=VALUE")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/proposals.py")
    settings = ProposalsSettings.model_validate(dict(parse_assignments(arguments.assignments).values))
    case = case_of(arguments)
    judged = list(judge(case, load_bundle(arguments.network), settings, arguments.scenes, arguments.backgrounds))
    rows = Rows()
    measured = {"objects": len(case.catalog), "scenes": len(judged), **figures(judged, settings)}
    rows.add(**measured)
    if arguments.fit:
        print(fitted(judged, settings))
    if arguments.result:
        write_result(arguments.result, origin, measured, SEED)


def case_of(arguments: argparse.Namespace) -> Case:
    """Load what is looked for and what is not."""
    if arguments.bundle:
        bundle = load_bundle(arguments.bundle)
        catalog, prior, folder = bundle.catalog, bundle.pose_prior, bundle.path / "meshes"
    else:
        folder, prior = arguments.bop / "models", PRIOR
        catalog = catalog_from_bop(folder)
    meshes = [load_mesh(folder / model.mesh, model.mesh_unit) for model in catalog]
    known = len(meshes) if arguments.known is None else arguments.known
    foreign = [*meshes[known:], *clutter_meshes(12, SEED)]
    if arguments.clutter:
        foreign += clutter_meshes(24, SEED, arguments.clutter)
    return Case(Catalog(catalog.objects[:known]), meshes[:known], folder, prior, foreign)


def judge(
    case: Case, network: Bundle, settings: ProposalsSettings, scenes: int, pictures: Path | None
) -> Iterator[Judged]:
    """Propose in every scene, and compare with what is there."""
    # The network of one bundle, the objects of another one.
    bundle = replace(network, catalog=case.catalog, pose_prior=case.prior)
    detector = load(LoadContext(bundle, CPU, settings, case.mesh_dir))
    backgrounds = background_pool(150, seed=SEED, folder=pictures)
    config = PoseSceneConfig(objects=(2, min(8, len(case.meshes))))
    source = PoseSceneSource(case.catalog, case.meshes, case.foreign, backgrounds, case.prior, config, SEED)
    for _ in tqdm(range(scenes), unit="scene", disable=None):
        scene = source.next()
        with torch.inference_mode(), use_precision("auto"):
            yield _judged(detector, scene, case.meshes)


def _judged(detector: Proposals, scene: PoseScene, meshes: list[Mesh]) -> Judged:
    found = detector.segmenter.segment(scene.frame.rgb, detector.settings.min_objectness)
    boxes = true_boxes(scene, meshes)
    if not found:
        empty = np.zeros((0, len(boxes)))
        return Judged(np.zeros((0, len(meshes))), np.zeros(0), empty, scene.object_index, scene.visibility)
    similarity = detector.matcher.similarity(*_picture(scene.frame), found).double().numpy()
    overlap = box_iou(np.stack([item.box for item in found]), boxes)
    objectness = np.array([item.score for item in found])
    return Judged(similarity, objectness, overlap, scene.object_index, scene.visibility)


def _picture(frame: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.from_numpy(frame.rgb).permute(2, 0, 1).float() / 255.0
    return image, torch.as_tensor(frame.camera.intrinsics, dtype=torch.float32)


def true_boxes(scene: PoseScene, meshes: list[Mesh]) -> np.ndarray:
    """Return the boxes (N, 4) of whole objects, as far as they are inside the image."""
    camera: Camera = scene.frame.camera
    limits = np.array([camera.width, camera.height]) - 0.5
    boxes = []
    for index, pose in zip(scene.object_index, scene.camera_from_object, strict=True):
        pixels = camera.project(meshes[index].vertices @ pose[:3, :3].T + pose[:3, 3])
        boxes.append(np.clip([pixels.min(axis=0), pixels.max(axis=0)], -0.5, limits).ravel())
    return np.reshape(boxes, (-1, 4))


def figures(judged: list[Judged], settings: ProposalsSettings) -> dict[str, float]:
    """Return the shares that the table shows."""
    proposed, closely, alike, named, false = [], [], [], [], 0
    for item in judged:
        asked = item.visibility >= MIN_VISIBILITY
        chances = name_probabilities(item.similarity, item.objectness, settings)
        right = item.overlap >= 0.5
        for number in np.flatnonzero(asked):
            index = item.truth[number]
            covers = right[:, number]
            proposed.append(covers.any())
            closely.append((item.overlap[:, number] >= 0.75).any())
            named.append(bool((chances[covers, index] >= NAMED).any()))
            if covers.any():
                best = int(item.overlap[:, number].argmax())
                alike.append(int(item.similarity[best].argmax()) == index)
        said = [(row, int(index)) for row, index in zip(*np.nonzero(chances >= NAMED), strict=True)]
        false += sum(not right[row, item.truth == index].any() for row, index in said)
    shares = {"recall_50": proposed, "recall_75": closely, "most_like": alike, "named": named}
    return {**{key: float(np.mean(value)) for key, value in shares.items()}, "false_names": false / len(judged)}


def fitted(judged: list[Judged], settings: ProposalsSettings) -> dict[str, float]:
    """Fit the scores by maximum likelihood; proposals that are half on an object do not count."""
    similarity, objectness, label = [], [], []
    for item in judged:
        best = item.overlap.max(axis=1, initial=0.0)
        for row in np.flatnonzero((best >= 0.5) | (best < 0.3)):
            similarity.append(item.similarity[row])
            objectness.append(item.objectness[row])
            label.append(int(item.truth[item.overlap[row].argmax()]) if best[row] >= 0.5 else -1)
    rows, sure, names = np.array(similarity), np.array(objectness), np.array(label)

    def loss(values: np.ndarray) -> float:
        changed = dict(zip(FITTED, values.tolist(), strict=True))
        chances = name_probabilities(rows, sure, settings.model_copy(update=changed))
        whole = np.concatenate([chances, 1.0 - chances.sum(axis=1, keepdims=True)], axis=1)
        return -float(np.log(np.clip(whole[np.arange(len(names)), names], 1e-6, 1.0)).mean())

    start = np.array([getattr(settings, name) for name in FITTED])
    done = minimize(loss, start, method="Nelder-Mead", bounds=[(0.1, 200.0), (-1.0, 2.0), (0.0, 5.0)])
    return dict(zip(FITTED, done.x.round(3).tolist(), strict=True)) | {"loss": round(float(done.fun), 4)}


if __name__ == "__main__":
    main()
