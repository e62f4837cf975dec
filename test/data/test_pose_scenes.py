"""Scenes with known poses: repeatable, objects where the ground truth says, and visibility that is counted."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.photograph import PhotographConfig
from pose_estimation_ros.data.pose_scenes import PoseSceneConfig, PoseSceneSource
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer

PRIOR = PosePrior(elevation_deg=(0.0, 90.0), roll_deg=(-20.0, 20.0), distance_m=(0.5, 1.0), other=0.1)
CLEAR = PhotographConfig(collage=(0, 3), noise=(0.0, 0.0), reduction=(1.0, 1.0), quality=(95, 95))
SMALL = PoseSceneConfig(width=160, height=120, focal_px=(150.0, 170.0), clutter=(0, 3), repeated=1.0, photograph=CLEAR)


@pytest.fixture(scope="module")
def meshes(tiny_bop):
    return [load_mesh(tiny_bop / "models" / model.mesh, "mm") for model in BopDataset(tiny_bop).catalog]


def _source(tiny_bop, meshes, seed, clutter=2, prior=PRIOR):
    foreign = clutter_meshes(clutter, 1) if clutter else []
    catalog, pool = BopDataset(tiny_bop).catalog, background_pool(3, 64, seed=1)
    return PoseSceneSource(catalog, meshes, foreign, pool, prior, SMALL, seed)


def test_the_same_seed_makes_the_same_scenes(tiny_bop, meshes):
    first, second, other = (_source(tiny_bop, meshes, seed).next() for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.frame.rgb, second.frame.rgb)
    np.testing.assert_array_equal(first.camera_from_object, second.camera_from_object)
    assert (first.frame.rgb != other.frame.rgb).any()


def test_objects_are_where_their_poses_say_and_visible_as_counted(tiny_bop, meshes):
    source, renderer = _source(tiny_bop, meshes, 6, clutter=0), SilhouetteRenderer(meshes)
    seen = 0
    for _ in range(6):
        scene = source.next()
        assert scene.camera_from_object[:, 2, 3].min() > 0.25
        np.testing.assert_allclose(np.linalg.det(scene.camera_from_object[:, :3, :3]), 1.0, atol=1e-6)
        found = renderer.render(scene.object_index, scene.camera_from_object, scene.frame.camera)
        nearest = found.depth.min(axis=0)
        visible = (found.masks & (found.depth == nearest)).sum(axis=(1, 2)) / found.masks.sum(axis=(1, 2))
        np.testing.assert_allclose(scene.visibility, visible, atol=0.02)
        seen += len(visible)
    assert seen > 12


def test_clutter_hides_objects_but_is_none(tiny_bop, meshes):
    source = _source(tiny_bop, meshes, 2, clutter=5)
    scenes = [source.next() for _ in range(5)]
    assert all(set(scene.object_index) <= {0, 1} for scene in scenes)
    assert min(scene.visibility.min(initial=1.0) for scene in scenes) < 1.0


def test_objects_are_painted_over_the_background(tiny_bop, meshes):
    scene = _source(tiny_bop, meshes, 3, clutter=0).next()
    found = SilhouetteRenderer(meshes).render(scene.object_index, scene.camera_from_object, scene.frame.camera)
    inside = found.masks.any(axis=0)
    rgb = scene.frame.rgb.astype(float)
    grey = np.ptp(rgb, axis=2)  # the meshes have no colour, the light hardly any
    assert np.median(grey[inside]) < 60.0
    assert inside.mean() > 0.01


def test_without_a_prior_objects_lie_in_any_rotation(tiny_bop, meshes):
    source = _source(tiny_bop, meshes, 8, prior=PosePrior(distance_m=(0.5, 1.0)))
    ups = np.concatenate([source.next().camera_from_object[:, :3, 2] for _ in range(5)])
    assert ups[:, 1].min() < -0.2 and ups[:, 1].max() > 0.2
