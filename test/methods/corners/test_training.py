"""The recipe of the corner regression: its step teaches, and what the recipe decides is refused elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.cli.train import main
from pose_estimation_ros.data.synthetic import CropBatch
from pose_estimation_ros.methods.corners.network import CornersNet
from pose_estimation_ros.methods.corners.training import CornersRecipe, CornersStep, known_outlines, train_corners
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.training.trainer import TrainingRun

from ..box_training import train_on_box

CPU = torch.device("cpu")
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def batch_of(catalog: Catalog, count: int = 12) -> CropBatch:
    """Return random pictures with random poses that they could be of."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=0).as_matrix()).float()
    pose[:, 2, 3] = 0.6
    camera = torch.tensor([[130.0, 0.0, 15.5], [0.0, 130.0, 15.5], [0.0, 0.0, 1.0]]).repeat(count, 1, 1)
    index = torch.arange(count) % len(catalog)
    mask = torch.ones(count, 8, 8, dtype=torch.bool)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    nothing = torch.zeros(count, 3, 8, 8)
    return CropBatch(images, nothing, mask, mask, index, index, camera, pose, torch.ones(count))


def step_of(catalog: Catalog, tmp_path: Path) -> CornersStep:
    bundle = Bundle(tmp_path, "tiny", catalog, {}, PosePrior(), meshes=None)
    return CornersStep(bundle, CornersRecipe(), CPU)


def test_steps_teach_where_corners_are(catalog: Catalog, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CornersNet(len(catalog), 32, 64, 16, widths=(16, 16, 24, 32), blocks=(1, 1, 1, 1))
    step, batch = step_of(catalog, tmp_path), batch_of(catalog)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(80):
        loss, figures = step(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(figures["l1"]))
    assert errors[0] > 0.1 and errors[-1] < 0.1 * errors[0]
    with torch.no_grad():
        scales = network.train()(batch.images.float() / 255.0, batch.object_index).log_scales.exp()
    assert float(scales.mean()) == pytest.approx(errors[-1], rel=1.0), "the uncertainty is of the error's size"


def test_targets_are_the_projected_corners_of_each_object(catalog: Catalog, tmp_path: Path) -> None:
    step, batch = step_of(catalog, tmp_path), batch_of(catalog, 2)
    for number, model in enumerate(catalog):
        pose = batch.camera_from_object[number].numpy()
        points = box_corners(model) @ pose[:3, :3].T + pose[:3, 3]
        expected = 130.0 * points[:, :2] / points[:, 2:] / 32.0
        np.testing.assert_allclose(step.targets(batch)[number].numpy(), expected, atol=1e-5)


def test_poses_that_look_the_same_have_the_same_targets(catalog: Catalog, tmp_path: Path) -> None:
    centred = ((-0.05, -0.04, -0.03), (0.05, 0.04, 0.03))
    symmetric = Catalog((replace(catalog[0], bounds_m=centred, discrete_symmetries=(FLIP,)),))
    step, batch = step_of(symmetric, tmp_path), batch_of(symmetric)
    turned = replace(batch, camera_from_object=batch.camera_from_object @ torch.from_numpy(FLIP).float())
    torch.testing.assert_close(step.targets(turned), step.targets(batch))


def test_a_training_starts_from_the_encoder_of_pix2pose(tmp_path: Path) -> None:
    network = "network: {widths: [8, 8, 8, 8], blocks: [1, 1, 1, 1], "
    common = "bank: {views: 12, clutter: 1, clutter_views: 2, backgrounds: 2}\nworkers: 0\n"
    train_on_box(
        tmp_path,
        "pix2pose",
        f"stages: [{{size: 32, samples: 16}}]\n{network}decoder: [8, 8, 8], bins: 4}}\n{common}"
        "optimiser: {batch: 16, warmup_samples: 0}\n",
    )
    (tmp_path / "corners.yaml").write_text(
        f"samples: 16\nsize: 32\nencoder_rate: 0.0\n{network}features: 16, channels: 4}}\n{common}"
        "optimiser: {batch: 16, warmup_samples: 0}\n"
    )
    arguments = ["--bundle", tmp_path / "bundle", "--network", "corners", "--config", tmp_path / "corners.yaml"]
    assert main([str(item) for item in [*arguments, "--work-dir", tmp_path / "other"]]) == 0
    bundle = load_bundle(tmp_path / "bundle")
    theirs, ours = bundle.weights("pix2pose"), bundle.weights("corners")
    for key, value in ours.items():
        if key.startswith("encoder."):
            torch.testing.assert_close(value, theirs[key], msg=key)
    assert bundle.network("corners").input_size == 32
    corner_points = np.array([[x, y, z] for x in (-0.05, 0.05) for y in (-0.04, 0.04) for z in (-0.03, 0.03)])
    away = np.linalg.norm(ours["outline"][0].float().numpy()[:, None] - corner_points, axis=2)
    assert away.min(axis=1).max() < 1e-4, "the outline of a box is its corners"
    assert away.min(axis=0).max() < 1e-4


def test_categories_have_no_outline(catalog: Catalog) -> None:
    points = box_corners(catalog[0]).astype(np.float32)
    box = Mesh(points, np.array([[0, 1, 2]]), points, points)
    mixed = Catalog((replace(catalog[0], instances=(Path("another.ply"),)), catalog[1]))
    outline = known_outlines(mixed, [box, box])
    assert not outline[0].any()
    np.testing.assert_allclose(outline[1].amax(dim=0), box.vertices.max(axis=0))


def test_the_size_is_the_recipe_s(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"network\.size = 64: .*recipe's size"):
        train_corners(TrainingRun(load_bundle("demo"), tmp_path), CornersRecipe(network={"size": 64}))
