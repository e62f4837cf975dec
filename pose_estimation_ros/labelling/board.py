"""A printed board (ChArUco: a chessboard with markers) that tells where it is in a photograph."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.pnp import solve_pnp

_MIN_CORNERS = 6  # of the chessboard that are seen
_THRESHOLD_PX = 3.0  # farthest that a corner is off


class BoardObject(BaseModel):
    """Where an object is on the board: from its lower left corner x right, y up the page, z towards the viewer."""

    model_config = ConfigDict(extra="forbid")

    name: str
    position_m: tuple[float, float, float]
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)  # about the board's x, then its y, then its z

    @property
    def page_from_object(self) -> np.ndarray:
        """The place (4, 4), metres."""
        place = np.eye(4)
        place[:3, :3] = Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix()
        place[:3, 3] = self.position_m
        return place


class BoardSettings(BaseModel):
    """A board, and what stands on it."""

    model_config = ConfigDict(extra="forbid")

    columns: int = Field(default=7, ge=3, le=40)  # squares
    rows: int = Field(default=5, ge=3, le=40)
    square_m: float = Field(default=0.035, ge=0.005, le=0.2)  # side; measure it on the print
    marker_m: float = Field(default=0.026, ge=0.003)  # side of the markers in the white squares
    dictionary: str = "DICT_5X5_1000"  # of OpenCV's markers
    objects: tuple[BoardObject, ...] = ()

    @model_validator(mode="after")
    def _is_possible(self) -> BoardSettings:
        if self.marker_m >= self.square_m:
            raise ValueError(f"marker_m = {self.marker_m:g}: expected less than square_m = {self.square_m:g}")
        if not self.dictionary.startswith("DICT_") or not hasattr(cv2.aruco, self.dictionary):
            raise ValueError(f"dictionary = {self.dictionary!r}: expected one of OpenCV's, such as DICT_5X5_1000")
        return self

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height."""
        return self.columns * self.square_m, self.rows * self.square_m


class Board:
    """Finds a board in photographs.

    Args:
        settings: the board.

    Raises:
        ValueError: if OpenCV is too old or its dictionary too small.
    """

    def __init__(self, settings: BoardSettings) -> None:
        if not hasattr(cv2.aruco, "CharucoDetector"):
            raise ValueError(f"OpenCV {cv2.__version__} has no CharucoDetector; expected 4.7 or newer")
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, settings.dictionary))
        markers, needed = len(dictionary.bytesList), settings.columns * settings.rows // 2
        if markers < needed:
            raise ValueError(f"{settings.dictionary}: has {markers} markers, the board needs {needed}")
        self.settings = settings
        size = (settings.columns, settings.rows)
        self._board: Any = cv2.aruco.CharucoBoard(size, settings.square_m, settings.marker_m, dictionary)
        self._detector: Any = cv2.aruco.CharucoDetector(self._board)
        # OpenCV counts from the upper left corner, y down the page and z into it.
        self._cv_from_page = np.diag([1.0, -1.0, -1.0, 1.0])
        self._cv_from_page[1, 3] = settings.size_m[1]

    def picture(self, square_px: int) -> np.ndarray:
        """Return the board (H, W) uint8, squares of so many pixels."""
        settings = self.settings
        # Whole pixels on both sides of a marker: OpenCV fails where rounding moves one over the rim.
        rim_px = max(1, round(square_px * (1.0 - settings.marker_m / settings.square_m) / 2.0))
        squares = (settings.columns, settings.rows)
        board: Any = cv2.aruco.CharucoBoard(squares, square_px, square_px - 2 * rim_px, self._board.getDictionary())
        return board.generateImage((squares[0] * square_px, squares[1] * square_px), marginSize=0, borderBits=1)

    def pose(self, frame: Frame) -> np.ndarray | None:
        """Return camera_from_page (4, 4) in metres, see `BoardObject`; None where too little of the board is seen.

        Args:
            frame: the photograph; its camera is not distorted.
        """
        corners, numbers, _, _ = self._detector.detectBoard(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY))
        if numbers is None or len(numbers) < _MIN_CORNERS:
            return None
        points, pixels = self._board.matchImagePoints(corners, numbers)
        points, pixels = points.reshape(-1, 3).astype(np.float64), pixels.reshape(-1, 2).astype(np.float64)
        found = solve_pnp(pixels, points, frame.camera.intrinsics, threshold_px=_THRESHOLD_PX)
        return None if found is None else found.camera_from_object @ self._cv_from_page
