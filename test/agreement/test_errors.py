"""Errors of poses: ours and those of bop_toolkit are the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pose_estimation_ros.evaluation import metrics

from .conftest import MM, TOLERANCE, Compared, Pair
from .renderer import Renderer

VSD_PAIRS = 24  # that many are rendered
ADI_PAIRS = 120  # that many are looked up in k-d trees, the slow part
TAUS = np.arange(0.05, 0.51, 0.05)  # what bop_toolkit's scripts pass for BOP'19


def _rigid(pose: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) nearest to that of a pose.

    The annotated matrices of Occlusion-LineMOD are rounded; bop_toolkit inverts them where we transpose them, and the
    angles between matrices that are no rotations differ by more than rounding. Between rotations they are the same.
    """
    u, _, v = np.linalg.svd(pose[:3, :3])
    return u @ v


COMPARED: dict[str, tuple[Callable[[Pair], float], Callable[[Any, Pair], float]]] = {
    "add": (
        lambda pair: MM * metrics.add_error(pair.model.points, pair.estimate, pair.truth),
        lambda toolkit, pair: toolkit.add(*pair.poses_mm, pair.vertices_mm),
    ),
    "adi": (
        lambda pair: MM * metrics.adi_error(pair.model.points, pair.estimate, pair.truth),
        lambda toolkit, pair: toolkit.adi(*pair.poses_mm, pair.vertices_mm),
    ),
    "mssd": (
        lambda pair: MM * metrics.mssd(pair.model, pair.estimate, pair.truth),
        lambda toolkit, pair: toolkit.mssd(*pair.poses_mm, pair.vertices_mm, pair.symmetries_mm),
    ),
    "mspd": (
        lambda pair: metrics.mspd(pair.model, pair.estimate, pair.truth, pair.camera.intrinsics, 640),
        lambda toolkit, pair: toolkit.mspd(
            *pair.poses_mm, pair.camera.intrinsics, pair.vertices_mm, pair.symmetries_mm
        ),
    ),
    "projection": (
        lambda pair: metrics.projection_error(pair.model.points, pair.estimate, pair.truth, pair.camera.intrinsics),
        lambda toolkit, pair: toolkit.proj(*pair.poses_mm, pair.camera.intrinsics, pair.vertices_mm),
    ),
    "rotation": (
        lambda pair: float(np.degrees(metrics.rotation_error(_rigid(pair.estimate), _rigid(pair.truth)))),
        lambda toolkit, pair: toolkit.re(_rigid(pair.estimate), _rigid(pair.truth)),
    ),
    "translation": (
        lambda pair: MM * metrics.translation_error(pair.estimate, pair.truth),
        lambda toolkit, pair: toolkit.te(pair.poses_mm[1], pair.poses_mm[3]),
    ),
}


def _some(pairs: Sequence[Pair], count: int) -> Sequence[Pair]:
    return pairs[:: max(1, len(pairs) // count)]


@pytest.mark.parametrize("name", COMPARED)
def test_errors_agree(name: str, bop: SimpleNamespace, compared: Compared) -> None:
    ours, theirs = COMPARED[name]
    pairs = _some(compared.pairs, ADI_PAIRS) if name == "adi" else compared.pairs
    mine = [ours(pair) for pair in pairs]
    np.testing.assert_allclose(mine, [theirs(bop.pose_error, pair) for pair in pairs], rtol=0.0, atol=TOLERANCE)
    assert np.ptp(mine) > 5.0  # poses of every quality were compared


def test_symmetries_agree(bop: SimpleNamespace, compared: Compared) -> None:
    """Ours and theirs are the same set; ours holds nothing twice."""
    for key, info in compared.info.items():
        ours = compared.models[key].symmetries[:, :3].copy()
        ours[..., 3] *= MM
        theirs = np.array(
            [np.hstack([item["R"], item["t"]]) for item in bop.misc.get_symmetry_transformations(info, 0.01)]
        )
        distances = np.abs(ours[:, None] - theirs[None]).max(axis=(2, 3))
        assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) < TOLERANCE
        between = np.abs(ours[:, None] - ours[None]).max(axis=(2, 3)) + np.eye(len(ours))
        assert between.min() > TOLERANCE


def _measured(
    rng: np.random.Generator, true_mm: np.ndarray, estimated_mm: np.ndarray, ray_lengths: np.ndarray
) -> np.ndarray:
    """Return what a depth sensor might see (H, W), millimetres: background, noise, something in front, holes."""
    depth = np.where(true_mm > 0, true_mm, 1600.0) + rng.normal(scale=4.0, size=true_mm.shape)
    rows, columns = np.nonzero(true_mm > 0)
    if len(rows):
        depth[:, : int(np.quantile(columns, rng.uniform(0.0, 0.6)))] -= 120.0
    depth[rng.random(depth.shape) < 0.1] = 0.0
    # bop_toolkit compares with delta in single precision: no pixel shall lie as near to it as that.
    for rendered in (true_mm, estimated_mm):
        depth[np.abs((rendered - depth) * ray_lengths - MM * metrics.VSD_DELTA_M) < 0.01] = 0.0
    return depth


def test_visible_surface_discrepancy_agrees(bop: SimpleNamespace, compared: Compared) -> None:
    """On the same renderings, against made-up measured depth: the real images have none."""
    rng = np.random.default_rng(3)
    renderer = Renderer(compared.silhouettes, compared.pairs[0].camera)
    errors = []
    for pair in _some(compared.pairs, VSD_PAIRS):
        matrix = pair.camera.intrinsics
        view = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        estimated = renderer.render_object(pair.object_id, *pair.poses_mm[:2], *view)["depth"]
        true = renderer.render_object(pair.object_id, *pair.poses_mm[2:], *view)["depth"]
        measured = _measured(rng, true, estimated, bop.misc.depth_im_to_dist_im(np.ones_like(true), matrix))
        diameter = compared.info[pair.object_id]["diameter"]
        theirs = bop.pose_error.vsd(
            *pair.poses_mm, measured, matrix, MM * metrics.VSD_DELTA_M, TAUS, True, diameter, renderer, pair.object_id
        )
        ours = metrics.vsd(estimated / MM, true / MM, measured / MM, matrix, pair.model.diameter_m)
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=TOLERANCE)
        errors.append(ours)
    assert np.min(errors) < 0.3 < 0.9 < np.max(errors)


def test_thresholds_decide_alike_where_an_error_equals_one(bop: SimpleNamespace) -> None:
    """VSD is a ratio of whole numbers, so it does equal its thresholds; the last bit then decides."""
    np.testing.assert_array_equal(metrics.BOP_SHARES, TAUS)
    matrix = np.array([[500.0, 0.0, 10.0], [0.0, 500.0, 10.0], [0.0, 0.0, 1.0]])
    true, nothing = np.full((1, 20), 700.0), np.zeros((1, 20))
    pose = np.eye(3), np.zeros((3, 1))
    for wrong in range(21):
        estimated = np.where(np.arange(20) < wrong, 900.0, true)
        renderings = iter([{"depth": estimated}, {"depth": true}])  # bop_toolkit renders the estimate first
        renderer = SimpleNamespace(render_object=lambda *_, images=renderings: next(images))
        theirs = bop.pose_error.vsd(*pose, *pose, nothing, matrix, 15.0, TAUS, True, 100.0, renderer, 1)
        ours = metrics.vsd(estimated / MM, true / MM, nothing, matrix, 0.1)
        assert ours.tolist() == theirs


def test_behind_the_camera_we_differ_on_purpose(bop: SimpleNamespace, compared: Compared) -> None:
    """bop_toolkit projects points behind the camera as if they were in front; here such a pose is infinitely wrong."""
    pair = compared.pairs[0]
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ pair.truth
    turned[2, 3] = -turned[2, 3]
    mirrored = Pair(pair.object_id, pair.model, pair.vertices_mm, pair.symmetries_mm, turned, pair.truth, pair.camera)
    for name in ("mspd", "projection"):
        ours, theirs = COMPARED[name]
        assert ours(mirrored) == np.inf
        assert np.isfinite(theirs(bop.pose_error, mirrored))
