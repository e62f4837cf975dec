"""The recipe of neural mesh models: what is remembered, what has to differ, and a short training that must work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.methods.nemo.mesh_table import mesh_table
from pose_estimation_ros.methods.nemo.meshes import cuboid_mesh
from pose_estimation_ros.methods.nemo.network import MeshTable, NemoNet, sample_features
from pose_estimation_ros.methods.nemo.training import NemoRecipe, NemoStep, remember, shown_at
from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel

HALF = np.array([0.06, 0.045, 0.03])
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])
SMALL = {"directions": 64, "features": 32, "clutter": 64, "widths": (8, 8, 8, 8), "decoder": (8, 8, 8), "stride": 4}


def bundle(symmetric: bool = False) -> Bundle:
    symmetries = (HALF_TURN,) if symmetric else ()
    model = ObjectModel(
        1, "brick", float(2.0 * np.linalg.norm(HALF)), (tuple(-HALF), tuple(HALF)), Path("brick.ply"),
        discrete_symmetries=symmetries,
    )  # fmt: skip
    return Bundle(Path("none"), "bricks", Catalog((model,)), {}, PosePrior(), meshes=None)


def network() -> NemoNet:
    torch.manual_seed(0)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * HALF
    table = MeshTable(**mesh_table([cuboid_mesh(corners, 300)], [0], 64))
    net = NemoNet(1, 1, table.vertices.shape[1], table.faces.shape[1], **SMALL)
    net.set_meshes(table)
    return net


def batch(count: int = 4) -> CropBatch:
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, :3, :3] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # seen from the side
    poses[:, 2, 3] = 0.5
    camera = torch.tensor([[150.0, 0.0, 31.5], [0.0, 150.0, 31.5], [0.0, 0.0, 1.0]]).repeat(count, 1, 1)
    mask = torch.zeros(count, 16, 16, dtype=torch.bool)
    mask[:, 5:11, 3:13] = True
    zeros = torch.zeros(count, dtype=torch.int64)
    images = torch.randint(0, 255, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return CropBatch(images, torch.zeros(count, 3, 16, 16), mask, mask, zeros, zeros, camera, poses, torch.ones(count))


def test_the_first_look_is_taken_over_and_later_ones_are_averaged() -> None:
    net = network()
    found = F.normalize(torch.randn(2, net.bank.shape[1], 32), dim=2)
    weights = torch.zeros(2, net.bank.shape[1])
    weights[:, 3] = torch.tensor([1.0, 3.0])
    target = torch.arange(net.bank.shape[1]).expand(2, -1)
    before = net.bank.clone()
    remember(net, torch.zeros(2, dtype=torch.int64), found, weights, target, 0.9)
    first = F.normalize(found[0, 3] + 3.0 * found[1, 3], dim=0)
    torch.testing.assert_close(net.bank[0, 3], first)
    assert net.seen[0].nonzero().flatten().tolist() == [3]
    torch.testing.assert_close(net.bank[0, :3], before[0, :3])
    weights[1] = 0.0
    remember(net, torch.zeros(2, dtype=torch.int64), found, weights, target, 0.9)
    mean = F.normalize(found[0, 3] + 3.0 * found[1, 3], dim=0)
    torch.testing.assert_close(net.bank[0, 3], F.normalize(0.9 * mean + 0.1 * found[0, 3], dim=0))


def test_symmetric_objects_keep_whichever_side_they_were_learned_as() -> None:
    net, turned = network(), bundle(symmetric=True)
    step = NemoStep(turned, NemoRecipe(), net, torch.device("cpu"))
    partner = step.partner[0, 1]
    torch.testing.assert_close(net.vertices[0][partner], net.vertices[0] * torch.tensor([-1.0, -1.0, 1.0]))
    mesh, weights = torch.zeros(2, dtype=torch.int64), torch.ones(2, net.bank.shape[1])
    found = torch.stack([net.bank[0], net.bank[0][partner]])  # the second picture shows it the other way round
    target = step.targets(net.bank, mesh, found, weights)
    assert target[0].tolist() == list(range(net.bank.shape[1]))
    assert target[1].tolist() == partner.tolist()


def test_only_what_the_mask_shows_counts() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = True
    pixels = torch.tensor([[[8.0, 4.0], [11.4, 7.4], [11.6, 4.0], [-3.0, 5.0], [float("nan"), 0.0]]])
    assert shown_at(mask, pixels).tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0]]


def test_features_are_read_at_the_centres_of_their_cells() -> None:
    features = torch.arange(16.0).reshape(1, 1, 4, 4)
    centres = torch.tensor([[[1.5, 1.5], [13.5, 5.5], [3.5, 1.5], [99.0, 0.0]]])  # cells (0, 0), (3, 1), between, off
    torch.testing.assert_close(sample_features(features, centres, 4)[0, :, 0], torch.tensor([0.0, 7.0, 0.5, 0.0]))


def test_the_loss_is_small_only_where_features_are_their_own_vertices() -> None:
    """Features of a perfect network against those of one that confuses neighbours beyond the exclusion."""
    net = network()
    recipe = NemoRecipe(exclusion=0.05, network=SMALL)
    step = NemoStep(bundle(), recipe, net, torch.device("cpu"))
    mesh, labels = torch.zeros(1, dtype=torch.int64), torch.arange(0, 200, 10)[None]
    counts = torch.ones_like(labels, dtype=torch.float32)
    own = step.compare(net, mesh, net.bank[0][labels], labels, counts)[0]
    far = (torch.cdist(net.vertices[0], net.vertices[0]) > 0.05).float().argmax(dim=1)[labels[0]][None]
    confused = step.compare(net, mesh, net.bank[0][far], labels, counts)[0]
    assert float(own) < 0.1 < 3.0 < float(confused)
    plain = NemoStep(bundle(), recipe.model_copy(update={"contrastive": False}), net, torch.device("cpu"))
    assert float(plain.compare(net, mesh, net.bank[0][labels], labels, counts)[0]) == pytest.approx(0.0, abs=1e-5)


def test_a_step_moves_bank_and_clutter_and_has_gradients() -> None:
    net = network().train()
    step = NemoStep(bundle(), NemoRecipe(network=SMALL), net, torch.device("cpu"))
    bank, clutter = net.bank.clone(), net.clutter.clone()
    loss, figures = step(net, batch())
    loss.backward()
    assert float(net.head.weight.grad.abs().sum()) > 0.0
    changed = (net.bank != bank).any(dim=2)[0]
    assert int(changed.sum()) > 10 and bool((net.seen[0] > 0).eq(changed).all())
    assert bool((net.clutter != clutter).any()) and set(figures) == {"match", "unlike", "right", "object", "clutter"}


def test_vertices_of_the_far_side_do_not_count() -> None:
    net, data = network(), batch(1)
    weights = net.view_weights(torch.zeros(1, dtype=torch.int64), data.camera_from_object)[0]
    eye = -(data.camera_from_object[0, :3, :3].T @ data.camera_from_object[0, :3, 3])
    rays = F.normalize(eye - net.vertices[0], dim=1)
    facing = (rays * net.normals[0]).sum(dim=1)
    assert float(weights[facing < -0.2].max()) == 0.0  # the table's directions are about 25 degrees apart
    torch.testing.assert_close(weights[facing > 0.3], facing[facing > 0.3])


@pytest.mark.slow
def test_a_short_training_finds_poses_in_renders_it_never_saw(tmp_path) -> None:
    """A coloured box: a minute and a half of training, then poses of new crops from their boxes alone."""
    import open3d

    from pose_estimation_ros.cli.train import main
    from pose_estimation_ros.data.synthetic import CropSource
    from pose_estimation_ros.methods.nemo.estimator import Nemo
    from pose_estimation_ros.objects.bundle import load_bundle
    from pose_estimation_ros.training.crop_source import BankConfig, open_bank

    mesh = open3d.geometry.TriangleMesh.create_box(0.12, 0.09, 0.06).subdivide_midpoint(4)
    place = np.asarray(mesh.vertices) / [0.12, 0.09, 0.06]
    mesh.vertex_colors = open3d.utility.Vector3dVector(0.15 + 0.7 * np.floor(place * 2.999) / 2.0)
    mesh.compute_vertex_normals()
    open3d.io.write_triangle_mesh(str(tmp_path / "box.ply"), mesh)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "samples: 4000\nsize: 64\nshape: cuboid\nvertices: 500\nnetwork: {stride: 4, widths: [32, 48, 64, 64], "
        "blocks: [1, 1, 1, 1], decoder: [64, 48, 48]}\noptimiser: {kind: muon, batch: 16, learning_rate: 0.002, "
        "warmup_samples: 300, ema_samples: 500}\nbank: {views: 150, clutter: 4}\n"
        "crops: {front_layers: 1, masked_share: 0.0}\n"
    )
    folder = tmp_path / "bundle"
    arguments = ["--mesh", tmp_path / "box.ply", "--elevation", 10, 70, "--roll", -20, 20, "--network", "nemo"]
    assert main([*map(str, ["--bundle", folder, *arguments, "--config", recipe, "--work-dir", tmp_path / "run"])]) == 0
    made = load_bundle(folder)
    backend = Nemo.from_bundle(made, torch.device("cpu"))
    bank, pictures = open_bank(made, BankConfig(views=60, clutter=4), 99, tmp_path / "other", None, "cpu")
    config = CropConfig(size=64, roll_deg=(-20.0, 20.0), front_layers=0, bar_share=0.0, masked_share=0.0)
    data = CropSource(bank, pictures, config, 99).batch(32)
    pixels = project_points(bank.outline[data.mesh_index], data.camera_from_object, data.camera)
    boxes = torch.cat([pixels.amin(dim=1), pixels.amax(dim=1)], dim=1).numpy()
    square = torch.tensor([[31.5, 31.5, 64.0]]).expand(32, 3)
    crops = Crops(data.images.float() / 255.0, data.camera, data.object_index, square)
    found = backend.fit(backend.predict(crops), crops, boxes, (640, 640)).pose
    cosine = (torch.einsum("bij,bij->b", found[:, :3, :3], data.camera_from_object[:, :3, :3]) - 1.0) / 2.0
    degrees = torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))
    assert float(degrees.median()) < 15.0
    assert float((degrees < 30.0).float().mean()) > 0.6
