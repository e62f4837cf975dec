"""Photographs for the refiner: what a pair says leads from the disturbed pose to the true one, and to its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.pairs import PairBatch, PairConfig
from pose_estimation_ros.data.photo_cuts import Instance, PhotoConfig, PhotoCuts, Photographs, Place
from pose_estimation_ros.data.photo_pairs import PhotoPairs
from pose_estimation_ros.data.pose_errors import PoseErrors
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix
from pose_estimation_ros.geometry.virtual_camera import PoseUpdate, VirtualCameras, updated_poses
from pose_estimation_ros.methods.attention.adaptation import ADAPTATION, PhotoUpdateSource
from pose_estimation_ros.methods.attention.training import AttentionRecipe, AttentionStep
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.methods.render_compare import Picture, RenderCompare, surface_outlines
from pose_estimation_ros.networks.attention_net import CELL, AttentionNet
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_weights
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.training.adaptation import adapted_network

from ..contract.case import CPU, FEW_VIEWS, Case, fingerprint, make_views

SIZE = 64


class Recording(Photographs):
    """Keeps what is cut."""

    cuts: PhotoCuts
    chosen: Sequence[Instance]
    places: Sequence[Place]

    def cut(self, chosen: Sequence[Instance], places: Sequence[Place], *more: Any) -> PhotoCuts:
        self.chosen, self.places, self.cuts = chosen, places, super().cut(chosen, places, *more)
        return self.cuts


def pairs(root: Path, count: int, roll_deg: float = 15.0, **config: float) -> tuple[Recording, PhotoPairs[PairBatch]]:
    dataset = BopDataset(root)
    meshes = [load_mesh(dataset.models_dir / model.mesh, "mm") for model in dataset.catalog]
    prior = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 1.0), other=0.0)
    bank = build_view_bank(list(dataset.catalog), meshes, prior, 24, [], 4, size=32)
    crops = CropConfig(image_side_px=(SIZE, SIZE), noise=0.0, masked_share=0.0)
    backgrounds = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
    how = PhotoConfig(color_jitter=False, roll_deg=roll_deg)
    photos = Recording(dataset, dataset.catalog, meshes, backgrounds, how, crops)
    errors = PoseErrors(bank, PairConfig(neighbours=6, **config))
    return photos, PhotoUpdateSource(photos, errors, 1.3).pairs(count, SIZE, seed=3)


def start_of(batch: PairBatch, photos: Photographs) -> tuple[Tensor, VirtualCameras]:
    """Return the poses that are rendered, as their virtual cameras see them, and cameras that look straight on."""
    centre, diameter = photos.centre[batch.object_index], photos.diameter[batch.object_index]
    pose = torch.eye(4).repeat(len(batch), 1, 1)
    pose[:, :3, :3] = batch.rendered_rotation
    pose[:, :3, 3] = -(batch.rendered_rotation @ centre[:, :, None])[:, :, 0]
    pose[:, 2, 3] += batch.distance * diameter
    camera = torch.zeros(len(batch), 3, 3)
    camera[:, 0, 0] = camera[:, 1, 1] = SIZE * batch.distance / batch.extent
    camera[:, :2, 2], camera[:, 2, 2] = (SIZE - 1) / 2.0, 1.0
    return pose, VirtualCameras(torch.eye(3).repeat(len(batch), 1, 1), camera, SIZE)


def test_the_target_leads_from_the_disturbed_pose_to_the_true_one(tiny_bop: Path) -> None:
    photos, made = pairs(tiny_bop, 24)
    batch = made.real
    start, cameras = start_of(batch, photos)
    torch.testing.assert_close(cameras.intrinsics, photos.cuts.camera, atol=1e-3, rtol=1e-5)
    turn = axis_angle_from_matrix(batch.true_rotation @ batch.rendered_rotation.transpose(1, 2))
    update = PoseUpdate(batch.shift, batch.log_distance, turn)
    reached = updated_poses(start, photos.centre[batch.object_index], cameras, update)
    torch.testing.assert_close(reached, photos.cuts.poses, atol=1e-5, rtol=0.0)
    assert float((start - photos.cuts.poses).abs().amax(dim=(1, 2)).min()) > 1e-3  # it was not there before


def test_flow_leads_rendered_points_to_where_the_photograph_shows_them(tiny_bop: Path) -> None:
    photos, made = pairs(tiny_bop, 40)
    batch = made.real
    wedge = batch.object_index == 0  # it has no symmetries, so the flow leads to the annotated pose
    geometry = F.avg_pool2d(batch.rendered.float()[:, 3:], CELL)
    points, inside = geometry[:, :3] / geometry[:, 3:].clamp(min=0.25), geometry[:, 3] > 0.99
    step = AttentionStep(BopDataset(tiny_bop).catalog, torch.zeros(2, 8, 3), AttentionRecipe(), CPU)
    flow = step.true_flow(points, batch).flatten(2).transpose(1, 2)
    radius = photos.diameter[batch.object_index] / 2.0
    about = (batch.rendered_rotation.transpose(1, 2) @ points.flatten(2)).transpose(1, 2) * radius[:, None, None]
    in_object = about + photos.centre[batch.object_index][:, None]
    start, cameras = start_of(batch, photos)
    before = project_points(in_object, start, cameras.intrinsics)
    after = project_points(in_object, photos.cuts.poses, photos.cuts.camera)
    shown = inside.flatten(1) & wedge[:, None]
    missed = ((after - before) / CELL - flow).norm(dim=-1)[shown]
    assert len(missed) > 500 and float(missed.max()) < 0.1
    assert float(flow.norm(dim=-1)[shown].median()) > 0.3


def test_pairs_look_as_they_do_at_run_time(tiny_bop: Path) -> None:
    photos, made = pairs(tiny_bop, 12, roll_deg=0.0)
    batch, dataset = made.real, photos.dataset
    start, _ = start_of(batch, photos)
    network = AttentionNet([8, 8], [1, 1], hidden=8, padding=1.3).eval()
    refiner = RenderCompare(network, photos.caster, dataset.catalog, surface_outlines(photos.meshes), SIZE)
    for row, (item, place) in enumerate(zip(photos.chosen, photos.places, strict=True)):
        image = torch.from_numpy(dataset.read_rgb(dataset.images[item.photo])).permute(2, 0, 1).float() / 255.0
        pose = torch.linalg.inv(place.turn) @ start[row]
        picture, index = Picture(image, photos.cameras[item.photo]), batch.object_index[row : row + 1]
        cameras, observed, rendered = refiner.pair(picture, index, pose[None], SIZE)
        torch.testing.assert_close(cameras.intrinsics[0], photos.cuts.camera[row], atol=1e-2, rtol=1e-4)
        assert float((255.0 * observed[0] - batch.observed[row].float()).abs().mean()) < 0.5  # rounded to bytes
        assert float((rendered[0] - batch.rendered[row].float()).abs().mean()) < 2e-3


def test_the_photograph_shows_the_object_where_the_true_pose_is(tiny_bop: Path) -> None:
    """Without errors rendering and photograph lie on each other."""
    _, made = pairs(tiny_bop, 24, min_error_ratio=0.0, max_error_ratio=0.0)
    colored = (F.avg_pool2d(made.real.observed.float(), CELL) - 90.0).abs().amax(dim=1) > 30.0
    rendered = F.avg_pool2d(made.real.rendered[:, 6:].float(), CELL)[:, 0] > 0.5
    visible = made.real.mask_visible
    assert float((colored & visible).sum() / visible.sum()) > 0.97
    alone = visible.sum(dim=(1, 2)) > 0.95 * rendered.sum(dim=(1, 2))
    assert float((rendered & visible)[alone].sum() / (rendered | visible)[alone].sum()) > 0.95


@pytest.fixture(scope="module")
def case(tiny_bop: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Backend unseen with a network that maps, as after an adaptation."""
    torch.manual_seed(0)
    shape = {"widths": [8, 8], "blocks": [1, 1], "hidden": 8, "mapping": True}
    network = AttentionNet(**shape)
    assert network.mapping is not None
    for parameter in network.mapping.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    dataset = BopDataset(tiny_bop)
    bundle = Bundle(tmp_path_factory.mktemp("bundle"), "trial", dataset.catalog, {}, PosePrior(), meshes=None)
    save_weights(bundle, "attention", network.state_dict(), shape, SIZE, {})
    return Case(methods()["unseen"], load_bundle(bundle.path), tiny_bop / "models", make_views(dataset))


def test_views_are_looked_up_by_mapped_features_of_the_image_alone(case: Case) -> None:
    """Backend unseen reads the same weights: tables of renderings are not mapped, what is seen in boxes is."""
    found, tables, looked_up, view = [], [], [], case.views[0]
    for domain in ("real", "synthetic"):
        settings = case.method.settings_model()(**FEW_VIEWS, domain=domain)
        instance = case.method.make(LoadContext(case.bundle, CPU, settings, case.mesh_dir))
        picture = instance.comparison.picture(view.frame)
        found.append(fingerprint(case.run(instance, view)))
        tables.append(instance.search.tables[0].features)
        looked_up.append(instance.search.candidates(picture, view.detections)[0].similarity)
    assert torch.equal(*tables)
    assert not torch.equal(*looked_up) and found[0] != found[1]


def test_files_for_other_runtimes_map_what_is_real(case: Case) -> None:
    from pose_estimation_ros.methods.attention import export
    from pose_estimation_ros.methods.unseen import export as unseen_export

    said = {}
    for domain in ("real", "synthetic"):
        settings = methods()["attention"].settings_model()(domain=domain)
        (file, *_) = export.export(LoadContext(case.bundle, CPU, settings, case.mesh_dir))
        said[domain] = file.module(**file.inputs(2))[0]
        settings = case.method.settings_model()(domain=domain)
        files = unseen_export.export(LoadContext(case.bundle, CPU, settings, case.mesh_dir))
        said[f"{domain} files"] = [item.name for item in files]
    assert not torch.equal(said["real"], said["synthetic"])
    assert said["real files"] == ["attention_features", "attention_features_real"]
    assert said["synthetic files"] == ["attention_features"]


def test_the_network_of_the_paper_has_nothing_to_map(case: Case) -> None:
    entry = case.bundle.network("attention")
    paper = entry.model_copy(update={"architecture": {"variant": "paper"}})
    bundle = replace(case.bundle, networks={"attention": paper})
    with pytest.raises(ValueError, match="network attention is of variant 'paper'"):
        adapted_network(bundle, ADAPTATION.role, ADAPTATION.network, True)
