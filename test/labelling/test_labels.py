"""The file of labels, the photographs, and the data set that comes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.calibration import Calibration
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.dataset import LabelledDataset
from pose_estimation_ros.labelling.labels import Label, LabelBook
from pose_estimation_ros.labelling.photos import open_photos
from pose_estimation_ros.labelling.refinement import PoseRefinement, poses_about
from pose_estimation_ros.labelling.settings import RefinementSettings
from pose_estimation_ros.objects.mesh import load_mesh

POSE = np.array([[0.0, -1.0, 0.0, 0.01], [1.0, 0.0, 0.0, -0.02], [0.0, 0.0, 1.0, 0.7], [0.0, 0.0, 0.0, 1.0]])
ORIGIN = {"bundle": "tiny", "photos": "/photos"}


@pytest.fixture
def dataset(tmp_path: Path, catalog, meshes, renderer) -> LabelledDataset:
    return LabelledDataset(tmp_path / "out", catalog, meshes, renderer)


def labels_of(photo, *verdicts: str) -> list[Label]:
    return [
        Label(f"obj_{truth.object_id:06d}", truth.camera_from_object, verdict, 0.5)
        for truth, verdict in zip(photo.poses, verdicts, strict=True)
    ]


def test_a_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    label = Label("mug", POSE, "doubt", 1.5, 0.75, None, 0.25, True)
    LabelBook(tmp_path / "out", ORIGIN).put("000001/000002", "a.png", [label])
    book = LabelBook(tmp_path / "out", ORIGIN)
    (found,) = book.of("000001/000002")
    assert np.array_equal(found.camera_from_object, POSE)
    assert replace(found, camera_from_object=POSE) == replace(label, camera_from_object=POSE)
    assert "000001/000002" in book and "000001/000003" not in book and book.counts() == {"doubt": 1}


def test_a_book_does_not_go_on_with_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    LabelBook(folder, ORIGIN).put("000001/000002", "a.png", [])
    with pytest.raises(ValueError, match="made with bundle = 'tiny', now 'other'"):
        LabelBook(folder, {**ORIGIN, "bundle": "other"})
    with pytest.raises(ValueError, match="was a.png and is b.png now"):
        LabelBook(folder, ORIGIN).check("000001/000002", "b.png")
    (folder / "labels.json").write_text('{"origin": {}, "photos": {"000001/000002": {}}}')
    with pytest.raises(ValueError, match="not a file of labels"):
        LabelBook(folder, ORIGIN)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not empty, and no labels.json"):
        LabelBook(tmp_path / "full", ORIGIN)


def test_accepted_labels_become_a_data_set_and_doubted_ones_only_hide(dataset, photos, tiny_bop: Path) -> None:
    for photo, verdicts in ((photos[0], ("accept", "accept")), (photos[2], ("doubt", "accept"))):
        dataset.write(photo, photo.frame(), labels_of(photo, *verdicts))
    read, truth = BopDataset(dataset.folder), BopDataset(tiny_bop)
    assert [image.key for image in read.images] == [(7, 0), (7, 2)]
    assert read.images[0].rgb_path.read_bytes() == truth.images[0].rgb_path.read_bytes()  # copied
    for own, true in zip(read.images[0].ground_truth, truth.images[0].ground_truth, strict=True):
        assert np.allclose(own.camera_from_object, true.camera_from_object, atol=1e-12)
        assert own.visibility == pytest.approx(true.visibility)
        assert np.array_equal(read.read_mask(own), truth.read_mask(true))
    (hidden,) = read.images[1].ground_truth  # the wedge, wholly behind the cube that is in doubt
    assert hidden.object_id == 1 and hidden.visibility == 0.0
    model = read.catalog[1]
    assert model.diameter_m == pytest.approx(truth.catalog[1].diameter_m) and len(model.discrete_symmetries) == 23
    bounds = [load_mesh(item.models_dir / model.mesh, "mm").bounds for item in (read, truth)]
    assert np.allclose(*bounds)
    assert {(item.image_id, item.object_id) for item in read.targets} == {(0, 1), (0, 2)}


def test_labels_that_are_taken_back_leave_the_data_set(dataset, photos) -> None:
    for photo in photos[:2]:
        dataset.write(photo, photo.frame(), labels_of(photo, *["accept"] * len(photo.poses)))
    dataset.write(photos[0], photos[0].frame(), labels_of(photos[0], "reject", "doubt"))
    assert [image.key for image in BopDataset(dataset.folder).images] == [(7, 1)]
    assert not list(dataset.folder.glob("test/000007/*/000000*"))


def test_images_of_a_distorted_camera_become_straight(tmp_path: Path, dataset, catalog) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("b.bmp", "a.jpg"):
        cv2.imwrite(str(folder / name), random.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    intrinsics = np.array([[150.0, 0.0, 79.5], [0.0, 150.0, 59.5], [0.0, 0.0, 1.0]])
    first, second = open_photos(folder, "test", Calibration(intrinsics, (-0.2, 0.05, 0.0, 0.0)))
    assert (first.path.name, first.key, second.key) == ("a.jpg", "000001/000000", "000001/000001")
    frame = first.frame()
    assert not frame.camera.is_distorted and not np.array_equal(frame.rgb, first.read().rgb)
    dataset.write(first, frame, [Label("obj_000002", POSE, "accept")])
    (image,) = BopDataset(dataset.folder).images
    assert image.rgb_path.name == "000000.png"
    assert np.array_equal(BopDataset(dataset.folder).read_rgb(image), frame.rgb)
    straight = replace(second, read=lambda: Frame(second.read().rgb, frame.camera))
    dataset.write(straight, straight.frame(), [Label("obj_000002", POSE, "accept")])
    images = BopDataset(dataset.folder).images  # which knows no .bmp
    assert [item.rgb_path.name for item in images] == ["000000.png", "000001.png"]


def test_photographs_without_a_camera_are_refused(tmp_path: Path, tiny_bop: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="images without a camera; expected --camera FILE"):
        open_photos(tmp_path, "test", None)
    with pytest.raises(ValueError, match="has cameras of its own"):
        open_photos(tiny_bop, "test", Calibration(np.eye(3)))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_photos(tmp_path / "nowhere", "test", None)


def test_poses_about_another_are_the_same_every_time_and_where_settings_say(catalog) -> None:
    settings = RefinementSettings(starts=8, distance_share=0.0)
    found, again = (poses_about(POSE, catalog[1], settings) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))
    assert len(found) == 8 and np.array_equal(found[0], POSE)
    centres = np.array([pose[:3, :3] @ catalog[1].centre_m + pose[:3, 3] for pose in found])
    away = np.linalg.norm(centres[1:] - centres[0], axis=1)
    assert np.allclose(away, settings.shift_diameters * catalog[1].diameter_m)
    assert np.allclose(centres[1:].mean(axis=0), centres[0])  # all around


def test_refinement_takes_the_start_from_which_the_refiner_finds_the_object(photos, catalog, labeller) -> None:
    truth = photos[0].poses[1].camera_from_object
    far = truth.copy()
    far[0, 3] += 0.07  # beyond the 6 cm that the refiner of these tests reaches
    frame = photos[0].frame()
    settings = RefinementSettings(shift_diameters=0.3, distance_share=0.0, rotation_deg=0.0)
    alone, several = (
        PoseRefinement(labeller.refiner, catalog, settings.model_copy(update={"starts": starts})).refined(frame, 1, far)
        for starts in (1, 8)
    )
    assert np.array_equal(alone, far) and np.array_equal(several, truth)


def test_the_report_is_json_that_people_can_read(tmp_path: Path) -> None:
    LabelBook(tmp_path, ORIGIN).put("000001/000002", "a.png", [Label("mug", POSE, "accept", 1.23456, 0.5, 0.4, 0.9)])
    content = json.loads((tmp_path / "labels.json").read_text())
    row = content["photos"]["000001/000002"]["labels"][0]
    assert content["origin"] == ORIGIN
    assert (row["object"], row["verdict"], row["residual_px"]) == ("mug", "accept", 1.235)
