"""The bundle: what is saved comes back, and every kind of damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from pose_estimation_ros.objects.bundle import (
    BUNDLE_FILE,
    Bundle,
    BundleError,
    PosePrior,
    find_bundle,
    load_bundle,
    save_bundle,
    save_score,
    save_weights,
)
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel
from pose_estimation_ros.objects.score_entry import ScoreEntry, ScoreTerm

BOUNDS = ((-0.05, -0.03, -0.02), (0.05, 0.03, 0.04))


@pytest.fixture
def bundle(tmp_path):
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[0, 3] = 0.01
    objects = (
        ObjectModel(4, "plate", 0.13, BOUNDS, Path("plate.ply"), "mm", discrete_symmetries=(turn,)),
        ObjectModel(
            6,
            "can",
            0.12,
            BOUNDS,
            Path("can.ply"),
            continuous_symmetries=(ContinuousSymmetry((0.0, 0.0, 1.0), (0.0, 0.02, 0.0)),),
        ),
    )
    prior = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 0.9), other=0.05)
    bundle = Bundle(tmp_path / "shop", "shop", Catalog(objects), {}, prior, mesh_source="Ask the shop.")
    save_bundle(bundle)
    return bundle


def rewrite(bundle, change):
    """Edit bundle.yaml with a function that changes the parsed content in place."""
    file = bundle.path / BUNDLE_FILE
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content))


def test_what_is_saved_comes_back(bundle):
    loaded = load_bundle(bundle.path)
    assert loaded.pose_prior == bundle.pose_prior and loaded.mesh_source == "Ask the shop."
    for new, old in zip(loaded.catalog, bundle.catalog, strict=True):
        assert (new.object_id, new.name, new.mesh, new.mesh_unit) == (old.object_id, old.name, old.mesh, old.mesh_unit)
        assert new.bounds_m == old.bounds_m and new.continuous_symmetries == old.continuous_symmetries
        for ours, theirs in zip(new.discrete_symmetries, old.discrete_symmetries, strict=True):
            np.testing.assert_array_equal(ours, theirs)


QUARTER = Rotation.from_euler("z", 90.0, degrees=True).as_matrix()


def test_frames_on_objects_are_read_in_degrees_or_as_quaternions_and_come_back(bundle):
    half = float(np.sqrt(0.5))
    frames = {
        "handle": {"translation_m": [0.02, 0.0, 0.1], "rpy_deg": [0.0, 0.0, 90.0]},
        "lid": {"quaternion_xyzw": [0.0, 0.0, half, half]},
        "rim": {"translation_m": [0.0, 0.0, 0.04]},
    }
    rewrite(bundle, lambda content: content["objects"][0].update(frames=frames))
    once = load_bundle(bundle.path)
    save_bundle(once)
    for loaded in (once, load_bundle(bundle.path)):
        handle, lid, rim = loaded.catalog[0].frames
        assert [handle.name, lid.name, rim.name] == ["handle", "lid", "rim"]
        assert loaded.catalog[1].frames == ()
        np.testing.assert_allclose(handle.object_from_frame[:3, :3], QUARTER, atol=1e-12)
        np.testing.assert_allclose(lid.object_from_frame[:3, :3], QUARTER, atol=1e-12)
        np.testing.assert_allclose(handle.object_from_frame[:3, 3], [0.02, 0.0, 0.1])
        np.testing.assert_array_equal(rim.object_from_frame[:3, :3], np.eye(3))


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"grasp/handle": {}}, "grasp/handle"),
        ({"0": {}}, "objects.0.frames.0"),
        ({"handle": {"translation": [0.0, 0.0, 0.1]}}, "frames.handle.translation = "),
        ({"handle": {"translation_m": [20.0, 0.0, 100.0]}}, "frame handle: translation_m = .* within 5"),
        ({"handle": {"translation_m": [float("nan"), 0.0, 0.0]}}, "frames.handle.translation_m.0 = nan"),
        ({"handle": {"rpy_deg": [0.0, 0.0]}}, "frames.handle.rpy_deg"),
        ({"handle": {"quaternion_xyzw": [0.0, 0.0, 0.0, 0.0]}}, "unit quaternion"),
        ({"handle": {"quaternion_xyzw": [0.0, 0.0, 0.0, 1.0], "rpy_deg": [0.0, 0.0, 9.0]}}, "not both"),
    ],
)
def test_frames_that_are_none_are_refused_by_name(bundle, frames, said):
    rewrite(bundle, lambda content: content["objects"][0].update(frames=frames))
    with pytest.raises(BundleError, match=said):
        load_bundle(bundle.path)


def test_a_key_that_comes_twice_is_refused(bundle):
    file = bundle.path / BUNDLE_FILE
    text = file.read_text()
    assert text.count("frames: {}") == 2
    file.write_text(text.replace("frames: {}", "frames: {handle: {}, lid: {}, handle: {}}"))
    with pytest.raises(BundleError, match="'handle' is there twice"):
        load_bundle(bundle.path)


def test_weights_come_back_in_half_precision(bundle):
    state = {"layer.weight": torch.randn(4, 3), "steps": torch.tensor(7)}
    saved = save_weights(bundle, "detector", state, {"width": 8}, 64, {"samples": 100}, {"loss": 0.5})
    loaded = load_bundle(bundle.path)
    assert loaded.network("detector") == saved.network("detector")
    weights = loaded.weights("detector")
    assert weights["layer.weight"].dtype == torch.float32 and weights["steps"].item() == 7
    torch.testing.assert_close(weights["layer.weight"], state["layer.weight"], rtol=1e-3, atol=1e-4)


def test_damaged_weights_are_refused(bundle):
    save_weights(bundle, "detector", {"weight": torch.zeros(3)}, {}, 64, {})
    file = bundle.path / "detector.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"detector\.safetensors: sha256 .* expected .* damaged"):
        load_bundle(bundle.path).weights("detector")
    file.unlink()
    with pytest.raises(BundleError, match=r"detector\.safetensors: weights of network 'detector' not found"):
        load_bundle(bundle.path).weights("detector")


def test_a_missing_network_says_how_to_train_it(bundle):
    with pytest.raises(
        BundleError, match=r"no network 'pix2pose' \(has: none\).*pose_train --bundle .* --network pix2pose"
    ):
        bundle.network("pix2pose")


def test_missing_meshes_say_where_to_get_them(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"plate\.ply.*'plate' not found\. Ask the shop\."):
        bundle.mesh_path(0)
    rewrite(bundle, lambda content: content.update(meshes=None))
    unshipped = load_bundle(bundle.path)
    with pytest.raises(BundleError, match=r"not shipped.*mesh_dir.*Ask the shop\."):
        unshipped.mesh_path(0)
    (tmp_path / "plate.ply").write_text("ply")
    assert unshipped.mesh_path(0, tmp_path) == tmp_path / "plate.ply"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda content: content["objects"][1].update(diameter_m=102.1),
            r"\(can\): diameter_m = 102\.1: expected metres",
        ),
        (lambda content: content["objects"][0].update(diametre=1), r"objects\.0\.diametre = 1: Extra inputs"),
        (lambda content: content["objects"][0].pop("mesh"), r"objects\.0\.mesh.*Field required"),
        (lambda content: content["objects"][0].update(mesh_unit="inch"), r"objects\.0\.mesh_unit = 'inch'"),
        (lambda content: content["objects"][0].update(name="a b"), r"objects\.0\.name = 'a b'"),
        (lambda content: content["objects"][0].update(discrete_symmetries=[[1.0, 2.0]]), "reshape"),
        (lambda content: content["objects"][1].update(id=4), "object_id 4 is used more than once"),
        (lambda content: content["pose_prior"].update(other=2), r"pose_prior\.other = 2"),
        (
            lambda content: content["pose_prior"].update(elevation_deg=[80, 10]),
            r"pose_prior\.elevation_deg = .*lower limit first",
        ),
        (lambda content: content["pose_prior"].update(elevation_deg=[0, 120]), r"elevation_deg = .*-90 and 90"),
        (lambda content: content["pose_prior"].update(distance_m=[0, 1]), r"distance_m = .*positive metres"),
        (
            lambda content: content["objects"][1].update(bounds_m=[[-50, -30, -20], [50, 30, 40]]),
            r"\(can\): bounds_m span 131\.1 m, diameter_m = 0\.12",
        ),
        (
            lambda content: content["objects"][0].update(
                discrete_symmetries=[[-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]
            ),
            "mirror images are none",
        ),
        (lambda content: content.update(objects=[]), "no objects"),
    ],
)
def test_a_wrong_field_is_named(bundle, change, said):
    rewrite(bundle, change)
    with pytest.raises(BundleError, match=r"bundle\.yaml: .*" + said):
        load_bundle(bundle.path)


@pytest.mark.parametrize("content", [b"objects: [", b"\xff\xfe\x00bad", b"", b"- just\n- a list\n"])
def test_a_corrupt_file_is_named(bundle, content):
    (bundle.path / BUNDLE_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.yaml"):
        load_bundle(bundle.path)


def test_an_unknown_bundle_lists_where_it_was_sought(tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    (tmp_path / "share/pose_estimation_ros/models").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"'nowhere': no bundle\.yaml in .*share/pose_estimation_ros/models/nowhere"):
        find_bundle("nowhere")


def test_an_installed_bundle_is_found_by_name(bundle, tmp_path, monkeypatch):
    folder = tmp_path / "install/share/pose_estimation_ros/models"
    folder.mkdir(parents=True)
    bundle.path.rename(folder / "shop")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    assert find_bundle("shop") == folder / "shop"


def test_an_interrupted_write_leaves_the_old_bundle(bundle, monkeypatch):
    before = (bundle.path / BUNDLE_FILE).read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_weights(bundle, "detector", {"weight": torch.zeros(1)}, {}, 64, {})
    assert (bundle.path / BUNDLE_FILE).read_text() == before


class TestDemoBundle:
    """The bundle that scripts/make_demo_objects.py wrote."""

    def test_its_meshes_fit_their_entries(self):
        from pose_estimation_ros.objects.mesh import diameter, load_mesh

        demo = load_bundle("demo")
        for index, model in enumerate(demo.catalog):
            mesh = load_mesh(demo.mesh_path(index), model.mesh_unit, model.diameter_m)
            np.testing.assert_allclose(mesh.bounds, model.bounds_m, atol=1e-6)
            assert diameter(mesh.vertices) == pytest.approx(model.diameter_m, rel=1e-5)

    def test_its_symmetries_keep_shape_and_color(self):
        from scipy.spatial import cKDTree

        from pose_estimation_ros.geometry.symmetry import symmetry_transforms
        from pose_estimation_ros.objects.mesh import load_mesh

        demo = load_bundle("demo")
        checked = set()
        for index, model in enumerate(demo.catalog):
            if not model.is_symmetric:
                continue
            mesh = load_mesh(demo.mesh_path(index), model.mesh_unit)
            continuous = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
            transforms = symmetry_transforms(model.discrete_symmetries, continuous, step_rad=1.0)
            assert len(transforms) > 1
            tree = cKDTree(mesh.vertices)
            for transform in transforms[1:]:
                gap, nearest = tree.query(mesh.vertices @ transform[:3, :3].T + transform[:3, 3])
                assert gap.max() < 2.5e-3  # the spacing of the vertices
                # Edges between colours may fall on either side of a vertex.
                assert np.mean(np.abs(mesh.colors[nearest] - mesh.colors).max(axis=1) < 0.1) > 0.97
            checked.add(model.name)
        assert checked == {"toy_brick", "bottle"}


def _score(backend="pix2pose", intercept=0.5):
    term = ScoreTerm(weight=1.5, low=-2.0, high=6.0, usual=0.25)
    return ScoreEntry(backend=backend, refiner="none", detector="mask_rcnn", intercept=intercept,
                      terms={"detection": term}, networks={"detector": "0" * 64}, fit={"scenes": 200})  # fmt: skip


def test_scores_come_back_one_for_each_pair_of_methods(bundle):
    save_score(bundle.path, _score())
    save_score(bundle.path, _score("nemo"))
    save_score(bundle.path, _score(intercept=-1.0))
    assert load_bundle(bundle.path).scores == (_score("nemo"), _score(intercept=-1.0))


def test_a_training_that_began_before_keeps_the_score(bundle):
    save_score(bundle.path, _score())
    updated = save_weights(bundle, "pix2pose", {"a": torch.zeros(1)}, {}, 64, {})
    assert updated.scores == load_bundle(bundle.path).scores == (_score(),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intercept": float("nan")}, r"scores.0.intercept = nan: Input should be a finite number"),
        ({"refiner": None}, r"scores.0.refiner = None"),
        ({"luck": 1.0}, r"scores.0.luck = 1.0: Extra inputs are not permitted"),
        ({"terms": {"detection": {"weight": 1.0, "low": 1.0, "high": 0.0, "usual": 0.5}}}, "expected rising values"),
    ],
)
def test_a_damaged_score_is_named(bundle, change, message):
    save_score(bundle.path, _score())
    rewrite(bundle, lambda content: content["scores"][0].update(change))
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle.path)
