"""Match estimates with ground truth as the BOP challenge (2019 to 2022, localisation) does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop import BopDataset, BopImage, BopTarget, GroundTruth
from pose_estimation_ros.evaluation import metrics
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.metrics import DepthRenderer, ObjectPoints
from pose_estimation_ros.geometry.symmetry import symmetry_transforms
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import load_vertices

ERRORS = ("add", "adi", "add_s", "projection", "mssd", "mspd", "rotation", "rotation_symmetric", "translation")


@dataclass(frozen=True)
class TargetErrors:
    """The errors of every estimate of one target against every instance that the target asks for."""

    target: BopTarget
    truths: tuple[GroundTruth, ...]  # G, at most target.instances
    estimates: tuple[Estimate, ...]  # E, best score first, at most target.instances
    errors: dict[str, np.ndarray]  # name in ERRORS -> (E, G); metres, pixels, radians
    vsd: np.ndarray | None  # (E, G, T), one error per tolerance tau; None without measured depth


def object_points(models_dir: Path, catalog: Catalog, object_ids: Iterable[int]) -> dict[int, ObjectPoints]:
    """Load the vertices and symmetries of objects.

    Raises:
        ValueError: if an object is not in models_info.json.
    """
    loaded = {}
    for object_id in sorted(set(object_ids)):
        index = catalog.index_of_id(object_id)
        if index is None:
            raise ValueError(f"{models_dir}/models_info.json: no object {object_id}, but the targets ask for it")
        loaded[object_id] = points_of(catalog[index], models_dir)
    return loaded


def points_of(model: ObjectModel, models_dir: Path) -> ObjectPoints:
    """Load the vertices and symmetries of one object."""
    symmetries = symmetry_transforms(
        model.discrete_symmetries, [(item.axis, item.offset_m) for item in model.continuous_symmetries]
    )
    return ObjectPoints(
        points=load_vertices(Path(models_dir) / model.mesh, model.mesh_unit, model.diameter_m),
        diameter_m=model.diameter_m,
        symmetries=np.asarray(symmetries, dtype=np.float64),
        is_symmetric=model.is_symmetric,
    )


def target_instances(image: BopImage, target: BopTarget) -> tuple[GroundTruth, ...]:
    """Return the instances that a target asks for: the most visible ones of its object."""
    mine = [item for item in image.ground_truth if item.object_id == target.object_id]
    return tuple(sorted(mine, key=lambda item: -item.visibility)[: target.instances])


def target_errors(
    dataset: BopDataset,
    targets: Sequence[BopTarget],
    estimates: Iterable[Estimate],
    models: dict[int, ObjectPoints],
    render_depth: DepthRenderer | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[TargetErrors]:
    """Compute the errors of all estimates that compete for a target.

    Args:
        dataset: images, cameras, ground truth, and measured depth where there is some.
        targets: what to find; all of their images must be in the data set.
        estimates: poses of any image; those nobody asked for are left out.
        models: vertices by object id.
        render_depth: renders depth for VSD; without it VSD is left out.
        progress: wraps the loop over the targets, for instance tqdm.
    """
    images = {image.key: image for image in dataset.images}
    offered: dict[tuple[int, int, int], list[Estimate]] = defaultdict(list)
    for item in estimates:
        offered[item.scene_id, item.image_id, item.object_id].append(item)
    results = []
    measured_key, measured = None, None
    for target in progress(targets):
        image = images[target.scene_id, target.image_id]
        if render_depth is not None and measured_key != image.key:
            measured_key, measured = image.key, dataset.read_depth(image)
        offers = offered[target.scene_id, target.image_id, target.object_id]
        best = tuple(sorted(offers, key=lambda item: -item.score)[: target.instances])
        results.append(_compare(target, image, best, models[target.object_id], render_depth, measured))
    return results


def match(errors: np.ndarray, threshold: float) -> np.ndarray:
    """Match estimates one-to-one with instances, greedily in the order of the rows.

    Args:
        errors: (E, G), rows by falling score.
        threshold: an error must be below it.

    Returns:
        The index of the estimate of every instance, -1 where there is none, shape (G,).
    """
    owner = np.full(errors.shape[1], -1)
    for row, values in enumerate(errors):
        free = np.where(owner < 0, values, np.inf)
        if free.size and free.min() < threshold:
            owner[int(free.argmin())] = row
    return owner


def matched_errors(result: TargetErrors, name: str, pairing: str = "mssd") -> np.ndarray:
    """Return one error per instance, shape (target.instances,); infinity where no estimate is left for it.

    Args:
        result: errors of a target.
        name: which error to return.
        pairing: the error by which estimates and instances are paired.
    """
    values = np.full(result.target.instances, np.inf)
    owner = match(result.errors[pairing], np.inf)
    for column, row in enumerate(owner):
        if row >= 0:
            values[column] = result.errors[name][row, column]
    return values


def _compare(
    target: BopTarget,
    image: BopImage,
    estimates: tuple[Estimate, ...],
    model: ObjectPoints,
    render_depth: DepthRenderer | None,
    measured: np.ndarray | None,
) -> TargetErrors:
    truths = target_instances(image, target)
    shape = (len(estimates), len(truths))
    errors = {name: np.full(shape, np.inf) for name in ERRORS}
    for row, estimate in enumerate(estimates):
        for column, truth in enumerate(truths):
            pair = _pair_errors(model, estimate.camera_from_object, truth.camera_from_object, image)
            for name, value in pair.items():
                errors[name][row, column] = value
    vsd = None
    if render_depth is not None and measured is not None:
        vsd = _vsd_errors(target, image, estimates, truths, model, render_depth, measured)
    return TargetErrors(target, truths, estimates, errors, vsd)


def _pair_errors(model: ObjectPoints, estimate: np.ndarray, truth: np.ndarray, image: BopImage) -> dict[str, float]:
    intrinsics = image.camera.intrinsics
    add, adi = metrics.add_error(model.points, estimate, truth), metrics.adi_error(model.points, estimate, truth)
    return {
        "add": add,
        "adi": adi,
        "add_s": adi if model.is_symmetric else add,
        "projection": metrics.projection_error(model.points, estimate, truth, intrinsics),
        "mssd": metrics.mssd(model, estimate, truth),
        "mspd": metrics.mspd(model, estimate, truth, intrinsics, image.camera.width),
        "rotation": metrics.rotation_error(estimate, truth),
        "rotation_symmetric": metrics.symmetric_rotation_error(model, estimate, truth),
        "translation": metrics.translation_error(estimate, truth),
    }


def _vsd_errors(
    target: BopTarget,
    image: BopImage,
    estimates: tuple[Estimate, ...],
    truths: tuple[GroundTruth, ...],
    model: ObjectPoints,
    render_depth: DepthRenderer,
    measured: np.ndarray,
) -> np.ndarray:
    values = np.ones((len(estimates), len(truths), len(metrics.BOP_SHARES)))
    true = [render_depth(target.object_id, item.camera_from_object, image.camera) for item in truths]
    for row, estimate in enumerate(estimates):
        guess = render_depth(target.object_id, estimate.camera_from_object, image.camera)
        for column, depth in enumerate(true):
            values[row, column] = metrics.vsd(guess, depth, measured, image.camera.intrinsics, model.diameter_m)
    return values
