"""The backend finds an object from any side with weights that were trained on others, and says what it lacks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.unseen.estimator import ROLES, Unseen, load
from pose_estimation_ros.methods.unseen.settings import UnseenSettings
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle, save_weights
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

CPU = torch.device("cpu")
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)
DENSE = UnseenSettings(directions=60, roll_step_deg=45.0, every_rotation=True)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Return the demo's bundle with one of its objects."""
    shipped = load_bundle("demo")
    (duckling,) = (model for model in shipped.catalog if model.name == "duckling")
    return replace(shipped, catalog=Catalog((duckling,)))


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Unseen:
    return load(LoadContext(bundle, CPU, DENSE))


def photographed(bundle: Bundle, turn: np.ndarray, place: tuple[float, float, float]) -> tuple[Frame, np.ndarray]:
    """Return an image of the object, and its pose."""
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = np.array(place) - turn @ bundle.catalog[0].centre_m
    intrinsics = torch.from_numpy(CAMERA.intrinsics).float()[None]
    caster = RayCaster(bundle.load_meshes())
    renders = caster.render(torch.tensor([0]), torch.from_numpy(pose).float()[None], intrinsics, 480, 640)
    mask = renders.mask[:, None].float()
    image = headlight(renders.colors, renders.normals[:, 2:]) * mask + 0.6 * (1.0 - mask)
    return Frame((image[0].permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8), CAMERA), pose


def boxed(frame: Frame) -> Detection:
    rows, columns = np.nonzero((frame.rgb != 153).any(axis=2))
    return Detection(0, 0.9, np.array([columns.min(), rows.min(), columns.max(), rows.max()], dtype=np.float64))


def estimated(backend: Unseen, frame: Frame, detections: list[Detection]) -> list[PoseHypothesis]:
    return backend.estimate(
        frame, crop_frame(frame, detections, backend.crop_size, backend.crop_padding, CPU), detections
    )


@pytest.mark.parametrize("seed", range(4))
def test_an_object_is_found_from_any_side(bundle: Bundle, backend: Unseen, seed: int) -> None:
    turn = Rotation.random(random_state=seed).as_matrix()
    frame, pose = photographed(bundle, turn, (0.1 * (seed - 1.5), -0.08, 0.6))
    (found,) = estimated(backend, frame, [boxed(frame)])
    angle = Rotation.from_matrix(found.camera_from_object[:3, :3].T @ turn).magnitude()
    diameter = bundle.catalog[0].diameter_m
    assert math.degrees(angle) < 10.0  # a quarter of the grid
    assert np.linalg.norm(found.camera_from_object[:3, 3] - pose[:3, 3]) < 0.15 * diameter
    assert found.comparisons == DENSE.candidates + DENSE.shortlist + DENSE.compared + DENSE.finished * DENSE.stages
    assert found.similarity is not None and found.similarity > 0.5


def test_a_likely_pose_scores_higher_than_noise(bundle: Bundle, backend: Unseen) -> None:
    frame, _ = photographed(bundle, Rotation.random(random_state=0).as_matrix(), (0.0, 0.0, 0.6))
    noise = Frame(np.random.default_rng(0).integers(0, 256, frame.rgb.shape, dtype=np.uint8), CAMERA)
    (right,), (wrong,) = (estimated(backend, item, [boxed(frame)]) for item in (frame, noise))
    assert wrong.score < 0.7 * right.score <= 0.63


def test_tables_take_what_the_settings_allow(bundle: Bundle, backend: Unseen) -> None:
    table = backend.search.tables[0]
    assert table.nbytes < DENSE.max_table_mb * 1e6
    with pytest.raises(ValueError, match=r"unseen\.max_table_mb = 0\.5: \d+ views take .* MB"):
        load(LoadContext(bundle, CPU, DENSE.model_copy(update={"max_table_mb": 0.5})))


def test_the_prior_limits_the_table(bundle: Bundle, backend: Unseen) -> None:
    narrow = load(LoadContext(bundle, CPU, DENSE.model_copy(update={"every_rotation": False})))
    assert len(narrow.search.tables[0].rotation) < len(backend.search.tables[0].rotation) / 3


def test_a_network_of_its_own_comes_first(bundle: Bundle) -> None:
    """Without its file: what is missed is what was looked for."""
    entry = bundle.network("attention").model_copy(update={"file": "unseen.safetensors"})
    both = replace(bundle, networks={**bundle.networks, "unseen": entry})
    assert ROLES == ("unseen", "attention")
    with pytest.raises(BundleError, match=r"unseen\.safetensors: weights of network 'unseen' not found"):
        load(LoadContext(both, CPU, DENSE))


def test_a_network_without_features_is_refused(bundle: Bundle, tmp_path) -> None:
    architecture = {"growth": 2, "layers": [1, 1, 1, 1, 1, 1], "up": [1, 1, 1], "first": 4, "hidden": 4}
    (tmp_path / "meshes").symlink_to(bundle.path / "meshes")
    copied = replace(bundle, path=tmp_path, meshes="meshes", networks={})
    state = PaperAttentionNet(**architecture).state_dict()
    paper = save_weights(copied, "attention", state, {"variant": "paper", **architecture}, 80, {})
    with pytest.raises(BundleError, match=r"networks\.attention is of variant 'paper'.* expects variant 'compact'"):
        load(LoadContext(paper, CPU, DENSE))
