"""A board printed, photographed by a camera at a known place, and found."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from pose_estimation_ros.cli.board import main
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.labelling.board import Board, BoardObject, BoardSettings
from pose_estimation_ros.labelling.board_places import BoardPlaces
from pose_estimation_ros.labelling.labels import Label, LabelBook
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.objects.catalog import Catalog

CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)
SQUARE_PX = 60


def camera_from_page(tilt_deg: float, turn_deg: float) -> np.ndarray:
    """Look at the middle of the board from 35 cm."""
    turn = Rotation.from_euler("zx", [turn_deg, 180.0 + tilt_deg], degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = turn
    width, height = BoardSettings().size_m
    pose[:3, 3] = np.array([0.0, 0.0, 0.35]) - turn @ np.array([width / 2.0, height / 2.0, 0.0])
    return pose


def photograph(board: Board, pose: np.ndarray) -> Frame:
    """Project the printed board into an image."""
    square, height = board.settings.square_m, board.settings.size_m[1]
    # Pixels of the print to points of the page: the corner of its first pixel is the upper left corner of the board.
    scale = square / SQUARE_PX
    page_from_print = np.array([[scale, 0.0, 0.5 * scale], [0.0, -scale, height - 0.5 * scale], [0.0, 0.0, 1.0]])
    image_from_print = CAMERA.intrinsics @ pose[:3, [0, 1, 3]] @ page_from_print
    pixels = cv2.warpPerspective(board.picture(SQUARE_PX), image_from_print, (640, 480), borderValue=200)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), CAMERA)


def photo_of(board: Board, number: int, pose: np.ndarray) -> Photo:
    return Photo(1, number, Path(f"{number}.png"), partial(photograph, board, pose))


@pytest.fixture(scope="module")
def board() -> Board:
    return Board(BoardSettings())


@pytest.mark.parametrize(("tilt_deg", "turn_deg"), [(0.0, 0.0), (25.0, 40.0), (-30.0, 170.0)])
def test_a_board_is_found_where_it_is(board: Board, tilt_deg: float, turn_deg: float) -> None:
    truth = camera_from_page(tilt_deg, turn_deg)
    found = board.pose(photograph(board, truth))
    corners = np.array([[x, y, 0.0] for x in (0.0, 0.245) for y in (0.0, 0.175)])
    errors = (found[:3, :3] - truth[:3, :3]) @ corners.T + (found[:3, 3:] - truth[:3, 3:])
    assert np.linalg.norm(errors, axis=0).max() < 0.0015


def test_no_board_is_found_where_none_is(board: Board) -> None:
    assert board.pose(Frame(np.full((480, 640, 3), 128, dtype=np.uint8), CAMERA)) is None


def test_objects_are_where_the_file_says(board: Board, catalog: Catalog, book: LabelBook) -> None:
    place = BoardObject(name="obj_000002", position_m=(0.1, 0.05, 0.02), rotation_deg=(0.0, 0.0, 90.0))
    settings = board.settings.model_copy(update={"objects": (place,)})
    truth = camera_from_page(20.0, 10.0)
    ((index, pose),) = BoardPlaces(Board(settings), catalog, [], book).find(photograph(board, truth))
    assert index == 1
    turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.allclose(pose[:3, :3], truth[:3, :3] @ turned, atol=0.01)
    assert np.allclose(pose[:3, 3], truth[:3, :3] @ [0.1, 0.05, 0.02] + truth[:3, 3], atol=0.001)
    unknown = settings.model_copy(update={"objects": (place.model_copy(update={"name": "cup"}),)})
    with pytest.raises(ValueError, match="no object 'cup'"):
        BoardPlaces(Board(unknown), catalog, [], book)


def test_one_labelled_photograph_places_objects_in_all_others(board: Board, catalog: Catalog, book: LabelBook) -> None:
    views = [camera_from_page(25.0, 40.0), camera_from_page(-20.0, 100.0)]
    photos = [photo_of(board, number, view) for number, view in enumerate(views)]
    places = BoardPlaces(board, catalog, photos, book)
    with pytest.raises(ValueError, match="no photograph with the board has a pose that a person accepted"):
        places.find(photos[1].frame())
    on_page = BoardObject(name="obj_000001", position_m=(0.06, 0.09, 0.03), rotation_deg=(10.0, 0.0, 30.0))
    label = Label("obj_000001", views[0] @ on_page.page_from_object, "accept")
    book.put(photos[0].key, "0.png", [label, replace(label, object_name="obj_000002")])  # nobody looked at these
    with pytest.raises(ValueError, match="that a person accepted"):
        places.find(photos[1].frame())
    book.put(photos[0].key, "0.png", [label.judged("accept"), label])
    ((index, pose),) = places.find(photos[1].frame())
    assert index == 0 and np.allclose(pose, views[1] @ on_page.page_from_object, atol=0.01)


def test_a_board_is_printed_in_its_real_size(tmp_path: Path, capsys) -> None:
    sizes = ["--columns", "4", "--rows", "3", "--square", "0.02", "--marker", "0.015"]
    assert main([str(tmp_path / "board.png"), *sizes]) == 0
    pixels = cv2.imread(str(tmp_path / "board.png"), cv2.IMREAD_GRAYSCALE)
    assert np.abs(np.array(pixels.shape) / 300.0 * 0.0254 - (0.07, 0.09)).max() < 2e-4  # 5 mm of white on all sides
    black = np.argwhere(pixels < 128)
    sides = (black.max(axis=0) - black.min(axis=0) + 1) / 300.0 * 0.0254
    assert np.allclose(sides, (0.06, 0.08), atol=2e-4)
    settings = BoardSettings.model_validate(yaml.safe_load((tmp_path / "board.yaml").read_text()))
    assert (settings.columns, settings.square_m, settings.objects) == (4, 0.02, ())
    assert main([str(tmp_path / "board.png")]) == 2 and "exists already" in capsys.readouterr().err


def test_boards_are_drawn_up_to_the_limits_of_their_settings() -> None:
    for square_m, marker_m in ((0.005, 0.003), (0.005, 0.0049), (0.2, 0.003)):
        settings = BoardSettings(columns=3, rows=3, square_m=square_m, marker_m=marker_m)
        square_px = round(square_m / 0.0254 * 300)
        picture = Board(settings).picture(square_px)
        assert picture.shape == (3 * square_px, 3 * square_px)
        assert 5 / 9 < (picture < 128).mean() < 0.9  # of nine squares five are black, and parts of the markers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["board.gif"], "ends in .pdf or .png"),
        (["board.pdf", "--marker", "0.04"], "expected less than square_m"),
        (["board.pdf", "--square", "0.0001"], "square_m = 0.0001: Input should be greater than or equal to 0.005"),
        (["board.png", "--square", "0.3"], "square_m = 0.3: Input should be less than or equal to 0.2"),
        (["board.pdf", "--marker", "0.0001"], "marker_m = 0.0001: Input should be greater than or equal to 0.003"),
        (["board.png", "--square", "0.2", "--columns", "40"], "a board of 8 x 1 m: expected at most 0.5 square metres"),
        (["board.pdf", "--dictionary", "DICT_9X9"], "expected one of OpenCV's"),
        (["board.pdf", "--dictionary", "DICT_4X4_50", "--columns", "20", "--rows", "20"], "has 50 markers"),
    ],
)
def test_boards_that_cannot_be_are_refused(tmp_path: Path, capsys, options: list[str], said: str) -> None:
    assert main([str(tmp_path / options[0]), *options[1:]]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
