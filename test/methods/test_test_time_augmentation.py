"""Test-time augmentation: views of one image agree about where things are, and their scores are averaged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pose_estimation_ros.methods.segmentation import Segmenter
from pose_estimation_ros.methods.test_time_augmentation import AUGMENTED, PLAIN, Found, fuse

CPU = torch.device("cpu")
CELLS = 28
HEIGHT, WIDTH = 96, 128


class BrightSpots(nn.Module):
    """Finds bright boxes whose left half alone is visible; the widths of the images that it is blind for are given."""

    def __init__(self, blind: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.roi_heads = SimpleNamespace(score_thresh=0.0)
        self.blind = blind

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        bright = images[0, 0].numpy() > 0.3
        rows, columns = np.nonzero(bright)
        count = 0 if images.shape[3] in self.blind else 1
        box = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
        red = images[0, 0].numpy()[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 0.7
        cells = torch.zeros(1, CELLS, CELLS)
        cells[:, :, : CELLS // 2] = float(red[:, : red.shape[1] // 2].mean() > 0.5)
        cells[:, :, CELLS // 2 :] = float(red[:, red.shape[1] // 2 :].mean() > 0.5)
        answer = {
            "boxes": torch.tensor([box]).float(),
            "labels": torch.tensor([1]),
            "scores": torch.tensor([0.8]),
            "masks": cells[None],
        }
        return [{name: value[:count] for name, value in answer.items()}]


def spotted() -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[20:60, 16:56] = 128  # covered: in the box, not in the mask
    image[20:60, 16:36] = 255
    return image


def found(*rows: tuple[list[float], float, int], cell: float = 1.0) -> Found:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Found(
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array(labels, dtype=np.int64),
        np.full((len(rows), 2, 2), cell, dtype=np.float32),
    )


def test_a_mirrored_and_larger_view_finds_the_same_box_and_mask():
    (plain,) = Segmenter(BrightSpots(), WIDTH, CPU, 0.6, PLAIN).segment(spotted(), 0.5)
    (augmented,) = Segmenter(BrightSpots(), WIDTH, CPU, 0.6, AUGMENTED).segment(spotted(), 0.5)
    np.testing.assert_allclose(plain.box, [15.5, 19.5, 55.5, 59.5])
    np.testing.assert_allclose(augmented.box, plain.box, atol=0.5)
    assert plain.mask[30, 20] and not plain.mask[30, 50]
    assert np.count_nonzero(augmented.mask ^ plain.mask) <= 2 * 40
    assert augmented.score == pytest.approx(0.8)


def test_what_one_view_misses_counts_half():
    blind = Segmenter(BrightSpots(blind=(WIDTH,)), WIDTH, CPU, 0.6, AUGMENTED)
    assert [item.score for item in blind.segment(spotted(), 0.3)] == [pytest.approx(0.4)]
    assert not blind.segment(spotted(), 0.5)
    assert blind.network.roi_heads.score_thresh == 0.25


def test_one_view_is_left_as_it_is():
    only = found(([0, 0, 10, 10], 0.9, 1), ([1, 0, 11, 10], 0.8, 1))
    assert fuse([only]) is only


def test_boxes_are_averaged_by_score():
    first = found(([0.0, 0.0, 10.0, 10.0], 0.75, 1), cell=1.0)
    second = found(([2.0, 0.0, 12.0, 10.0], 0.25, 1), cell=0.0)
    both = fuse([first, second])
    np.testing.assert_allclose(both.boxes, [[0.5, 0.0, 10.5, 10.0]])
    np.testing.assert_allclose(both.scores, [0.5])
    np.testing.assert_allclose(both.cells, np.full((1, 2, 2), 0.75))
    three = fuse([first, second, second])
    np.testing.assert_allclose(three.boxes, [[0.8, 0.0, 10.8, 10.0]])  # as if all were averaged at once
    np.testing.assert_allclose(three.scores, [1.25 / 3])


def test_other_classes_and_other_places_stay_apart():
    first = found(([0, 0, 10, 10], 0.9, 1))
    second = found(([0, 0, 10, 10], 0.6, 2), ([30, 0, 40, 10], 0.4, 1))
    both = fuse([first, second])
    assert sorted(zip(both.labels.tolist(), both.scores.round(2).tolist(), strict=True)) == [
        (1, pytest.approx(0.2)),
        (1, pytest.approx(0.45)),
        (2, pytest.approx(0.3)),
    ]


def test_a_thing_is_in_one_pair_and_nothing_stays_twice():
    first = found(([0, 0, 10, 10], 0.9, 1))
    second = found(([1, 0, 11, 10], 0.8, 1), ([3, 0, 13, 10], 0.7, 1))
    both = fuse([first, second])
    assert len(both) == 1
    assert both.scores[0] == pytest.approx(0.85)
    assert len(fuse([found(), found()])) == 0
    assert len(fuse([found(), first])) == 1
