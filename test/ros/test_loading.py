"""What the node says of bundles whose networks are missing or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_estimation_ros.objects.bundle import Bundle, BundleError, NetworkEntry, PosePrior, save_bundle
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.ros.loading import load_pipeline, mesh_uri, mesh_uris, without_tracking
from pose_estimation_ros.settings import Layer

CUBE = ObjectModel(1, "cube", 0.1733, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("cube.ply"))

ENTRIES = {
    role: NetworkEntry(file=f"{role}.safetensors", sha256="0" * 64, input_size=96) for role in ("detector", "pix2pose")
}


def bundle_at(path: Path, **networks: NetworkEntry) -> Bundle:
    bundle = Bundle(path, "test", Catalog((CUBE,)), networks, PosePrior())
    save_bundle(bundle)
    return bundle


def parameters(path: Path, **changes) -> dict:
    return {"bundle": str(path), "device": "cpu", **changes}


def test_bundle_without_networks_says_how_to_train_them(tmp_path):
    bundle_at(tmp_path)
    with pytest.raises(BundleError, match="no network 'detector' .* pose_train --bundle"):
        load_pipeline(parameters(tmp_path))


def test_missing_weights_file_is_named(tmp_path):
    bundle_at(tmp_path, **ENTRIES)
    with pytest.raises(BundleError, match="detector.safetensors: weights of network 'detector' not found"):
        load_pipeline(parameters(tmp_path))


def test_damaged_weights_file_is_named(tmp_path):
    bundle_at(tmp_path, **ENTRIES)
    (tmp_path / "detector.safetensors").write_bytes(b"half a download")
    with pytest.raises(BundleError, match="detector.safetensors: sha256 .* the file is damaged"):
        load_pipeline(parameters(tmp_path))


def test_on_demand_every_frame_stands_for_itself_and_nothing_else_changes():
    wanted = {"tracking.mode": "refine", "tracking.min_hits": 3, "refiner": "attention"}
    settings = resolve_run(None, [Layer("test", wanted)])
    alone = without_tracking(settings)
    changed = {name for name, value in alone.values().items() if value != settings.values()[name]}
    assert changed == {"tracking.enabled", "tracking.mode"}
    assert (alone.pipeline.tracking.enabled, alone.pipeline.tracking.mode) == (False, "detect")


def test_gpu_that_is_not_there_is_refused(tmp_path):
    bundle_at(tmp_path)
    with pytest.raises(ValueError, match="device = 'cuda:99'"):
        load_pipeline(parameters(tmp_path, device="cuda:99"))


def test_only_meshes_that_exist_get_a_uri(tmp_path):
    bundle = bundle_at(tmp_path)
    assert mesh_uris(bundle, None) == {}
    elsewhere = tmp_path / "my meshes"
    elsewhere.mkdir()
    (elsewhere / "cube.ply").write_text("ply")
    assert mesh_uris(bundle, elsewhere) == {"cube": f"file://{tmp_path}/my%20meshes/cube.ply"}


def test_following_without_a_refiner_is_refused():
    with pytest.raises(ValueError, match="tracking.mode = 'refine' needs a refiner: refiner = 'none'"):
        load_pipeline(parameters(Path("demo"), **{"tracking.mode": "refine"}))


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The folder of the package's bundles in an installation of its own."""
    index = tmp_path / "ws" / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "pose_estimation_ros").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ws"))
    models = tmp_path / "ws" / "share" / "pose_estimation_ros" / "models"
    models.mkdir(parents=True)
    return models


def mesh_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("ply")
    return path


def test_meshes_of_installed_bundles_are_found_on_other_machines_too(installed):
    mesh = mesh_at(installed / "mine" / "meshes" / "my cube.ply")
    assert mesh_uri(mesh) == "package://pose_estimation_ros/models/mine/meshes/my%20cube.ply"


def test_meshes_that_are_linked_into_the_installation_are_of_the_package(installed, tmp_path):
    """As colcon build --symlink-install leaves them."""
    source = mesh_at(tmp_path / "src" / "models" / "mine" / "cube.ply")
    link = installed / "mine" / "cube.ply"
    link.parent.mkdir()
    link.symlink_to(source)
    for path in (source, link):
        assert mesh_uri(path) == "package://pose_estimation_ros/models/mine/cube.ply"


def test_other_meshes_are_files(installed, tmp_path):
    mesh_at(installed / "mine" / "cube.ply")
    other = mesh_at(tmp_path / "models" / "mine" / "cube.ply")
    assert mesh_uri(other) == other.as_uri()
