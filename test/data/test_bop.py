"""Reading and writing data sets in BOP layout."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset, BopTarget, read_targets, targets_from
from pose_estimation_ros.data.bop_writer import BopWriter, write_models_info
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel, catalog_from_bop

LMO = Path(os.environ.get("LMO_DIR", Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "lmo"))


@pytest.fixture
def copy(tiny_bop: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(tiny_bop, tmp_path / "copy"))


def _scene_json(root: Path, name: str, change) -> None:
    path = root / "test" / "000007" / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_back_in_metres(tiny_bop: Path) -> None:
    dataset = BopDataset(tiny_bop)
    assert [image.key for image in dataset.images] == [(7, 0), (7, 1), (7, 2)]
    truth = dataset.images[1].ground_truth
    assert [item.object_id for item in truth] == [1, 2, 2]
    np.testing.assert_allclose(truth[2].camera_from_object[:3, 3], [-0.06, 0.06, 0.8], atol=1e-12)
    np.testing.assert_allclose(
        truth[2].camera_from_object[:3, :3] @ truth[2].camera_from_object[:3, :3].T, np.eye(3), atol=1e-12
    )
    camera = dataset.images[0].camera
    assert (camera.width, camera.height, camera.intrinsics[0, 0]) == (160, 120, 150.0)
    assert dataset.read_rgb(dataset.images[0])[60, 50].tolist() == [200, 40, 40]  # red stays red


def test_depth_survives_the_file_to_a_twentieth_of_a_millimetre(tiny_bop: Path) -> None:
    dataset = BopDataset(tiny_bop)
    depth = dataset.read_depth(dataset.images[2])
    assert depth is not None
    assert depth[0, 0] == pytest.approx(1.5, abs=5e-5)
    truth = dataset.images[2].ground_truth[0]
    mask = dataset.read_mask(truth)
    assert mask is not None
    # The nearest corner of the cube is half a space diagonal before its centre at most.
    assert 0.5 - 0.05 * np.sqrt(3) <= depth[mask].min() < 0.5
    columns = np.flatnonzero(mask.any(axis=0))
    assert truth.box_visible is not None
    assert truth.box_visible[[0, 2]].tolist() == [columns[0], columns[-1]]


def test_hidden_instance_has_no_visible_box_and_no_target(tiny_bop: Path) -> None:
    dataset = BopDataset(tiny_bop)
    hidden = dataset.images[2].ground_truth[1]
    assert hidden.visibility == 0.0
    assert hidden.box_visible is None
    assert hidden.box_full is not None
    expected = [
        BopTarget(7, 0, 1, 1),
        BopTarget(7, 0, 2, 1),
        BopTarget(7, 1, 1, 1),
        BopTarget(7, 1, 2, 2),
        BopTarget(7, 2, 2, 1),
    ]
    assert dataset.targets == expected
    assert targets_from(dataset.images) == expected


def test_a_second_scene_keeps_the_targets_of_the_first(copy: Path) -> None:
    camera = Camera(np.array([[90.0, 0.0, 9.5], [0.0, 95.0, 4.5], [0.0, 0.0, 1.0]]), 20, 10)
    with BopWriter(copy, scene_id=8) as writer:
        writer.add(np.zeros((10, 20, 3), dtype=np.uint8), camera, [(1, np.eye(4))])
    dataset = BopDataset(copy)
    assert dataset.targets[-1] == BopTarget(8, 0, 1, 1)
    assert len(dataset.targets) == 6
    assert dataset.images[-1].camera.intrinsics[1, 1] == 95.0
    assert (dataset.images[-1].camera.width, dataset.images[0].camera.width) == (20, 160)
    assert dataset.read_depth(dataset.images[-1]) is None


def test_intrinsics_are_those_of_each_image(copy: Path) -> None:
    def widen(content: dict) -> None:
        content["1"]["cam_K"][0] = 175.0

    _scene_json(copy, "scene_camera.json", widen)
    assert [image.camera.intrinsics[0, 0] for image in BopDataset(copy).images] == [150.0, 175.0, 150.0]


def test_depth_scale_is_applied(copy: Path) -> None:
    before = BopDataset(copy)
    _scene_json(copy, "scene_camera.json", lambda content: content["0"].update(depth_scale=1.0))
    after = BopDataset(copy)
    np.testing.assert_allclose(after.read_depth(after.images[0]), 10 * before.read_depth(before.images[0]), rtol=1e-6)


def test_a_partial_copy_counts_only_its_images(copy: Path) -> None:
    (copy / "test" / "000007" / "rgb" / "000001.png").unlink()
    assert [image.image_id for image in BopDataset(copy).images] == [0, 2]


def test_grey_images_are_read_as_colour(copy: Path) -> None:
    folder = copy / "test" / "000007"
    (folder / "rgb").rename(folder / "gray")
    for path in (folder / "gray").iterdir():
        cv2.imwrite(str(path.with_suffix(".tif")), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        path.unlink()
    dataset = BopDataset(copy)
    frame = dataset.frame(dataset.images[0])
    assert (frame.rgb[..., 0] == frame.rgb[..., 2]).all()
    assert frame.rgb.max() > 0


def test_without_info_file_instances_count_as_visible(copy: Path) -> None:
    (copy / "test" / "000007" / "scene_gt_info.json").unlink()
    (copy / "test_targets_bop19.json").unlink()
    dataset = BopDataset(copy)
    assert dataset.images[0].ground_truth[0].box_full is None
    assert BopTarget(7, 2, 1, 1) in dataset.targets


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "test"), "test: no such split"),
        (lambda root: (root / "test/000007/scene_camera.json").unlink(), "scene_camera.json: not found"),
        (lambda root: shutil.rmtree(root / "test/000007/rgb"), "no images"),
        (lambda root: (root / "test/000007/scene_gt.json").write_text("{"), "scene_gt.json: not valid JSON"),
        (
            lambda root: _scene_json(root, "scene_gt_info.json", lambda c: c["1"].pop()),
            "image 1: 2 entries, expected 3",
        ),
        (lambda root: (root / "test/000007/rgb/000000.png").write_text("no"), "000000.png: not a readable image"),
    ],
)
def test_damage_is_named(copy: Path, damage, message: str) -> None:
    damage(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        BopDataset(copy)


def test_a_target_without_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    path.write_text('[{"scene_id": 1, "im_id": 2, "obj_id": 3}, {"scene_id": 1, "im_id": 2}]')
    with pytest.raises(ValueError, match="entry 1: missing 'obj_id'"):
        read_targets(path)


def test_models_info_survives_with_symmetries(tmp_path: Path) -> None:
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:3, 3] = [0.01, -0.02, 0.0]
    model = ObjectModel(
        object_id=3,
        name="obj_000003",
        diameter_m=0.2,
        bounds_m=((-0.05, -0.06, -0.07), (0.05, 0.06, 0.09)),
        mesh=Path("obj_000003.ply"),
        mesh_unit="mm",
        discrete_symmetries=(flip,),
        continuous_symmetries=(ContinuousSymmetry((0.0, 0.0, 1.0), (0.001, 0.002, 0.0)),),
    )
    write_models_info(Catalog((model,)), tmp_path)
    again = catalog_from_bop(tmp_path)[0]
    np.testing.assert_allclose(again.discrete_symmetries[0], flip, atol=1e-12)
    np.testing.assert_allclose(again.bounds_m, model.bounds_m, atol=1e-12)
    np.testing.assert_allclose(again.continuous_symmetries[0].offset_m, (0.001, 0.002, 0.0), atol=1e-12)
    assert again.diameter_m == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rgb": np.zeros((4, 6, 3), dtype=np.uint8)}, "rgb"),
        ({"camera": Camera(np.diag([9.0, 9.0, 1.0]), 6, 5, (0.1, 0.0, 0.0, 0.0))}, "distorted"),
        ({"masks_visible": np.ones((2, 5, 6), dtype=bool)}, "masks_visible"),
    ],
)
def test_writer_refuses_what_does_not_fit(tmp_path: Path, change: dict, message: str) -> None:
    call = {"rgb": np.zeros((5, 6, 3), dtype=np.uint8), "camera": Camera(np.diag([9.0, 9.0, 1.0]), 6, 5)}
    with pytest.raises(ValueError, match=message):
        BopWriter(tmp_path).add(**{**call, "poses": [(1, np.eye(4))], **change})


@pytest.mark.skipif(not LMO.is_dir(), reason=f"Occlusion-LineMOD not at {LMO}; set LMO_DIR")
def test_projected_vertices_fill_the_annotated_boxes_of_occlusion_linemod() -> None:
    """Poses, intrinsics, units and boxes agree: the projected mesh spans the annotated silhouette within 2 pixels."""
    from pose_estimation_ros.objects.mesh import load_mesh

    dataset = BopDataset(LMO)
    assert (len(dataset.images), len(dataset.targets)) == (60, 436)
    meshes = {
        model.object_id: load_mesh(LMO / "models" / model.mesh, "mm", model.diameter_m) for model in dataset.catalog
    }
    worst = 0.0
    for image in dataset.images[::6]:
        for truth in image.ground_truth:
            transform = truth.camera_from_object
            vertices = meshes[truth.object_id].vertices @ transform[:3, :3].T + transform[:3, 3]
            pixels = image.camera.project(vertices)
            extent = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            worst = max(worst, float(np.abs(extent - truth.box_full).max()))
    assert worst < 2.0
