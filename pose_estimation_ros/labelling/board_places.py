"""Poses of objects on a board: their places are known, or learned from a photograph that a person labelled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.board import Board
from pose_estimation_ros.labelling.labeller import Objects
from pose_estimation_ros.labelling.labels import LabelBook
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.objects.catalog import Catalog


class BoardPlaces:
    """Finds the objects that stand on a board.

    Where the board's file does not say where they are, the first photograph tells that shows the board and has labels
    that a person accepted. Nothing on the board may move between photographs.

    Args:
        board: the board with its objects.
        catalog: the objects of the bundle.
        photos: all photographs.
        book: their labels.

    Raises:
        ValueError: if an object is not in the catalog.
    """

    def __init__(self, board: Board, catalog: Catalog, photos: Sequence[Photo], book: LabelBook) -> None:
        self._board, self._catalog, self._photos, self._book = board, catalog, photos, book
        self._known = [(catalog.require_index(item.name), item.page_from_object) for item in board.settings.objects]
        self._seen: dict[str, np.ndarray | None] = {}  # where the board is in labelled photographs

    def find(self, frame: Frame) -> Objects:
        """Return the objects of a photograph; none where the board is not seen.

        Raises:
            ValueError: if nobody said where they are.
        """
        places = self._known or self._learned()
        if not places:
            raise ValueError(
                "board: no objects in its file, and no photograph with the board has a pose that a person accepted; "
                "expected one of them"
            )
        pose = self._board.pose(frame)
        return [] if pose is None else [(index, pose @ place) for index, place in places]

    def _learned(self) -> Objects:
        for photo in self._photos:
            own = [item for item in self._book.of(photo.key) if item.verdict == "accept" and item.by_hand]
            if not own:
                continue
            if photo.key not in self._seen:
                self._seen[photo.key] = self._board.pose(photo.frame())
            pose = self._seen[photo.key]
            if pose is not None:
                page = np.linalg.inv(pose)
                return [(self._catalog.require_index(item.object_name), page @ item.camera_from_object) for item in own]
        return []
