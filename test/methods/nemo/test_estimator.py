"""Neural mesh models in a world where features are perfect: does the search find the pose, and the occluder?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.crops import Crops, crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.run import true_poses, truth_detections
from pose_estimation_ros.geometry.camera import Camera, project_points, transform_points
from pose_estimation_ros.geometry.symmetry import symmetric_distance, symmetry_transforms
from pose_estimation_ros.methods.nemo.drawing import draw
from pose_estimation_ros.methods.nemo.estimator import Nemo
from pose_estimation_ros.methods.nemo.fit import moved_poses, projection_jacobian
from pose_estimation_ros.methods.nemo.mesh_table import mesh_table, surface
from pose_estimation_ros.methods.nemo.meshes import NeuralMesh, cuboid_mesh
from pose_estimation_ros.methods.nemo.network import MeshTable, NemoNet
from pose_estimation_ros.methods.nemo.paper import look_at_poses, starts
from pose_estimation_ros.methods.nemo.rendering import render_features
from pose_estimation_ros.methods.nemo.settings import FitSettings, NemoSettings
from pose_estimation_ros.methods.nemo.similarity import (
    cell_intrinsics,
    centres,
    from_centre,
    project,
    score_poses,
    similarity_of,
)
from pose_estimation_ros.objects.bundle import PosePrior, load_bundle
from pose_estimation_ros.rendering.raycaster import RayCaster

SIZE, STRIDE, FEATURES = 128, 4, 32
PRIOR = PosePrior(elevation_deg=(-10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 1.0), other=0.0)
CAMERA = torch.tensor([[[420.0, 0.0, 40.0], [0.0, 420.0, 75.0], [0.0, 0.0, 1.0]]])  # the crop is off the axis


def brick(scale: float = 1.0) -> NeuralMesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    return cuboid_mesh(scale * corners * [0.06, 0.045, 0.03] + [0.01, 0.02, 0.0], 600)


def network(meshes: list[NeuralMesh] | None = None, owner: tuple[int, ...] = (0,)) -> NemoNet:
    """Return a network whose vertices have smooth features of their place on the surface."""
    torch.manual_seed(0)
    table = MeshTable(**mesh_table(meshes or [brick()], owner, 128))
    shape = {"vertices": table.vertices.shape[1], "faces": table.faces.shape[1], "features": FEATURES, "stride": STRIDE}
    net = NemoNet(max(owner) + 1, len(owner), **shape, directions=128, widths=(8, 8, 8, 8), decoder=(8, 8, 8))
    net.set_meshes(table)
    waves = (
        torch.randn(6, FEATURES, generator=torch.Generator().manual_seed(1))
        * torch.tensor([60.0, 60.0, 60.0, 1.5, 1.5, 1.5])[:, None]
    )
    place = torch.cat([table.vertices, table.normals], dim=2) @ waves
    net.bank.copy_(F.normalize(torch.cos(place), dim=2))
    net.seen.fill_(1)
    net.clutter.copy_(F.normalize(torch.randn(FEATURES, generator=torch.Generator().manual_seed(2)), dim=0))
    return net.eval()


def true_pose(number: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(number)
    azimuth, elevation = generator.uniform(0.0, 2.0 * np.pi), generator.uniform(0.2, 1.0)
    place = 0.6 * torch.tensor(
        [[np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]]
    )
    pose = look_at_poses(place.float(), torch.tensor([generator.uniform(-0.3, 0.3)]).float(), torch.eye(3))
    pose[:, :3, 3] += torch.tensor([0.03, -0.015, 0.0])
    return pose


def picture(net: NemoNet, pose: torch.Tensor, mesh: int = 0) -> torch.Tensor:
    """Render the features of the true pose; all else is clutter."""
    which, side = torch.tensor([mesh]), SIZE // STRIDE
    meshes = [
        surface(NeuralMesh(v.numpy(), f.numpy(), n.numpy(), v[:1].numpy()))
        for v, f, n in zip(net.vertices, net.faces, net.normals, strict=True)
    ]
    camera = cell_intrinsics(CAMERA, STRIDE)
    shown = render_features(
        RayCaster(meshes), which, net.vertices[which], net.faces[which], net.bank[which], pose, camera, side, side
    )
    clutter = F.normalize(
        net.background[:, None, None]
        + 0.3 * torch.randn(FEATURES, side, side, generator=torch.Generator().manual_seed(3)),
        dim=0,
    )
    return torch.where(shown.mask[:, None], F.normalize(shown.features, dim=1), clutter[None])


def crops() -> Crops:
    square = torch.tensor([[(SIZE - 1) / 2.0, (SIZE - 1) / 2.0, float(SIZE)]])
    return Crops(torch.zeros(1, 3, SIZE, SIZE), CAMERA, torch.zeros(1, dtype=torch.int64), square)


def box_of(net: NemoNet, pose: torch.Tensor, mesh: int = 0) -> np.ndarray:
    pixels = project_points(net.outline[mesh : mesh + 1], pose, CAMERA)[0]
    return torch.cat([pixels.amin(dim=0), pixels.amax(dim=0)])[None].numpy()


def errors(found: torch.Tensor, true: torch.Tensor) -> tuple[float, float]:
    turn = Rotation.from_matrix((found[0, :3, :3].T @ true[0, :3, :3]).double().numpy()).magnitude()
    return float(np.degrees(turn)), float((found[0, :3, 3] - true[0, :3, 3]).norm())


@pytest.mark.parametrize("number", range(6))
def test_the_pose_is_found_from_the_box_alone(number: int) -> None:
    net, pose = network(), true_pose(number)
    backend = Nemo(net, SIZE, PRIOR, NemoSettings(match_start=False))
    box = box_of(net, pose) + np.array([[-2.0, 1.5, 2.0, 3.0]])  # as wrong as a detector's
    fits = backend.fit(picture(net, pose), crops(), box, (640, 480))
    degrees, metres = errors(fits.pose, pose)
    assert degrees < 2.0 and metres < 0.012  # 2 % of the distance
    assert float(fits.share[0]) > 0.85


def test_an_occluder_is_told_from_the_object() -> None:
    net, pose = network(), true_pose(1)
    features = picture(net, pose)
    box = box_of(net, pose)
    covered = torch.zeros(SIZE // STRIDE, SIZE // STRIDE, dtype=torch.bool)
    centre = (box[0, :2] + box[0, 2:]) / 2.0 / STRIDE
    covered[:, int(centre[0]) :] = True  # the right half
    other = F.normalize(net.background + 0.2 * torch.randn(FEATURES, generator=torch.Generator().manual_seed(5)), dim=0)
    features = torch.where(covered, other[:, None, None], features)
    backend = Nemo(net, SIZE, PRIOR)
    fits = backend.fit(features, crops(), box, (640, 480))
    degrees, metres = errors(fits.pose, pose)
    assert degrees < 4.0 and metres < 0.02
    mask, explained = backend.explained(features, crops(), fits)
    hidden, said = mask[0] & covered, mask[0] & ~explained[0]
    assert float((hidden & said).sum() / (hidden | said).sum()) > 0.8
    assert 0.3 < float(fits.share[0]) < 0.75  # about half of it is seen


def test_the_score_is_highest_at_the_true_pose_along_every_axis() -> None:
    net, pose = network(), true_pose(2)
    similarity = similarity_of(net, picture(net, pose), CAMERA, torch.tensor([0]), torch.tensor([0]))
    centred, length = from_centre(pose, -centres(net)), torch.tensor([0.16])
    for axis in range(6):
        update = torch.zeros(9, 6)
        update[:, axis] = torch.linspace(-0.4, 0.4, 9)
        poses = moved_poses(centred.expand(9, 4, 4), update, length.expand(9))
        gain = score_poses(net, similarity, poses[None]).gain[0]
        slack = 1 if axis == 2 else 0  # the distance is what features say least of
        assert abs(int(gain.argmax()) - 4) <= slack, f"axis {axis}: {gain.tolist()}"


def test_the_derivatives_of_projections_are_those_of_finite_differences() -> None:
    pose = from_centre(true_pose(3), -centres(network())).double()
    points, length = torch.randn(1, 5, 3, dtype=torch.float64) * 0.04, torch.tensor([0.2], dtype=torch.float64)
    camera = CAMERA.double()

    def pixels_after(update: torch.Tensor) -> torch.Tensor:
        at = points @ moved_poses(pose, update[None], length)[:, :3, :3].mT
        at = at + moved_poses(pose, update[None], length)[:, None, :3, 3]
        return at[..., :2] / at[..., 2:] * 420.0 + camera[:, None, :2, 2]

    exact = projection_jacobian(project(points, pose, camera), camera, length)
    numeric = torch.autograd.functional.jacobian(pixels_after, torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(exact, numeric)


def test_the_mesh_that_fits_best_is_chosen() -> None:
    net = network([brick(1.0), brick(1.6)], owner=(0, 0))
    pose = true_pose(4)
    for mesh in (0, 1):
        fits = Nemo(net, SIZE, PRIOR).fit(picture(net, pose, mesh), crops(), box_of(net, pose, mesh), (640, 480))
        assert int(fits.mesh[0]) == mesh
        degrees, metres = errors(fits.pose, pose)
        assert degrees < 3.0 and metres < 0.02


def test_the_paper_s_procedure_finds_the_rotation() -> None:
    net = network()
    pose = true_pose(5)
    backend = Nemo(net, SIZE, PRIOR, NemoSettings(procedure="paper"))
    fits = backend.fit(picture(net, pose), crops(), box_of(net, pose), (640, 480))
    assert errors(fits.pose, pose)[0] < 5.0
    assert fits.covariance is None  # it is no least squares


def test_the_paper_starts_from_144_cameras_that_look_at_the_object() -> None:
    place, roll = starts(torch.device("cpu"))
    assert place.shape == (144, 3) and len(torch.unique(roll)) == 3
    poses = look_at_poses(place, roll, torch.eye(3))
    torch.testing.assert_close(poses[:, :3, 3], torch.tensor([0.0, 0.0, 5.0]).expand(144, 3))
    eye = -(poses[:, :3, :3].mT @ poses[:, :3, 3:])[..., 0]
    torch.testing.assert_close(eye, place, atol=1e-5, rtol=0.0)
    upright = poses[roll.abs() < 1e-6]
    up = upright[:, :3, :3] @ torch.tensor([0.0, 0.0, 1.0])
    assert float(up[:, 0].abs().max()) < 1e-5 and bool((up[:, 1] < 0.0).all())  # z of the object is up in the image


def test_edges_at_the_rim_of_the_image_are_not_believed() -> None:
    net, pose = network(), true_pose(0)
    whole = box_of(net, pose)
    cut = whole.copy()
    cut[0, 2] = (whole[0, 0] + whole[0, 2]) / 2.0  # the image ends there
    backend = Nemo(net, SIZE, PRIOR, NemoSettings(fit=FitSettings(box_weight=1.0)))
    wide = backend.fit(picture(net, pose), crops(), cut, (640, 480))
    told = backend.fit(picture(net, pose), crops(), cut, (int(cut[0, 2]) + 1, 480))
    assert errors(told.pose, pose)[1] < 0.5 * errors(wide.pose, pose)[1]


def test_covariances_follow_the_scatter_of_fits_to_noisy_features() -> None:
    """Seen in noise of its own each time, the pose scatters by about what the fits say, where it was and turned."""
    net, pose = network(), true_pose(1)
    clean, box = picture(net, pose), box_of(net, pose)
    backend = Nemo(net, SIZE, PRIOR)
    generator = torch.Generator().manual_seed(7)
    found, said = [], []
    for _ in range(24):
        noisy = F.normalize(clean + 0.25 * torch.randn(clean.shape, generator=generator), dim=1)
        fits = backend.fit(noisy, crops(), box, (640, 480))
        centre = fits.pose[0, :3, :3] @ centres(net)[0] + fits.pose[0, :3, 3]
        turn = Rotation.from_matrix((fits.pose[0, :3, :3] @ pose[0, :3, :3].T).double().numpy()).as_rotvec()
        found.append(np.concatenate([centre.double().numpy(), turn]))
        assert fits.covariance is not None
        said.append(np.diag(fits.covariance[0].double().numpy()))
    ratio = np.std(found, axis=0) / np.sqrt(np.mean(said, axis=0))
    assert ((ratio > 0.5) & (ratio < 2.5)).all(), ratio


def test_poses_come_with_their_detections_and_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    net, pose = network(), true_pose(1)
    backend = Nemo(net, SIZE, PRIOR)
    monkeypatch.setattr(backend, "predict", lambda crops: picture(net, pose))
    frame = Frame(np.zeros((SIZE, SIZE, 3), np.uint8), Camera(CAMERA[0].double().numpy(), SIZE, SIZE))
    detections = [Detection(0, 0.8, box_of(net, pose)[0])]
    (hypothesis,) = backend.estimate(frame, crops(), detections)
    assert errors(torch.from_numpy(hypothesis.camera_from_object[None]).float(), pose)[0] < 2.0
    assert 0.7 < hypothesis.score <= 0.8
    drawing = draw(backend, frame, crops(), detections)
    assert (drawing[..., 1].astype(int) - drawing[..., 0] > 20).mean() > 0.1  # green where the object is explained
    assert backend.estimate(frame, replace(crops(), pixels=torch.zeros(0, 3, SIZE, SIZE)), []) == []


def test_the_middle_of_the_mesh_is_where_its_pose_says() -> None:
    pose, centre = true_pose(3), torch.tensor([[0.01, 0.02, 0.03]])
    whole = from_centre(pose, centre)
    torch.testing.assert_close(transform_points(centre[:, None], whole)[:, 0], pose[:, :3, 3])
    torch.testing.assert_close(whole[:, :3, :3], pose[:, :3, :3])


def test_an_unknown_procedure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"procedure"):
        NemoSettings(procedure="slow")  # type: ignore[arg-type]


def test_the_shipped_weights_find_the_demo_s_objects_in_images_never_trained_on() -> None:
    bundle = load_bundle("demo")
    dataset = BopDataset(bundle.path / "sequence")
    backend = Nemo.from_bundle(bundle, torch.device("cpu"))
    degrees = []
    for image in dataset.images[::13]:
        targets = targets_from([image])
        boxes = truth_detections(image, targets, bundle.catalog)
        frame = dataset.frame(image)
        cut = crop_frame(frame, boxes, backend.crop_size, backend.crop_padding, torch.device("cpu"))
        found = {item.detection_index: item for item in backend.estimate(frame, cut, boxes)}
        for number, truth in enumerate(true_poses(image, targets, bundle.catalog)):
            model = bundle.catalog[boxes[number].object_index]
            around = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
            symmetries = symmetry_transforms(model.discrete_symmetries, around)
            turn, _ = symmetric_distance(found[number].camera_from_object, truth, symmetries)
            degrees.append(np.degrees(turn))
    assert len(degrees) >= 20
    assert np.median(degrees) < 5.0
    assert np.mean(np.array(degrees) < 15.0) > 0.9
