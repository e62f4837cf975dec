"""Pairs of depth images with known joints and renderings of hands with these joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.hand_pairs import HandPairSource, hand_windows
from pose_estimation_ros.data.hand_scenes import WINDOW_M, HandCropConfig, HandSceneConfig, HandScenes, draw_frames
from pose_estimation_ros.data.nyu_hand import PALM
from pose_estimation_ros.geometry.camera import Camera

CAMERA = Camera(np.array([[290.0, 0.0, 150.0], [0.0, 280.0, 125.0], [0.0, 0.0, 1.0]]), 320, 240)


@pytest.fixture(scope="module")
def frames() -> HandScenes:
    config = HandSceneConfig(noisy_share=0.0, distance_m=(0.5, 0.7), around_share=0.0)
    return draw_frames(5, config, CAMERA, torch.Generator().manual_seed(11))


def test_windows_show_what_the_image_shows_at_the_same_places(frames: HandScenes):
    windows = hand_windows(frames.depth, CAMERA, frames.joints)
    for number in range(len(frames)):
        surface = windows.depth[number]
        row, column = (surface < torch.inf).nonzero()[::37].unbind(dim=1)
        matrix = windows.intrinsics[number]
        x = (column - matrix[0, 2]) / matrix[0, 0]
        y = (row - matrix[1, 2]) / matrix[1, 1]
        original = frames.intrinsics[number]
        there = frames.depth[
            number,
            (y * original[1, 1] + original[1, 2]).round().long(),
            (x * original[0, 0] + original[0, 2]).round().long(),
        ]
        assert torch.equal(there, surface[row, column]) and len(row) > 20
        palm = windows.joints[number, PALM]
        assert surface.shape[1] / matrix[0, 0] * palm[2] == pytest.approx(WINDOW_M, rel=1e-4)
        middle = matrix[:2, :2].diagonal() * palm[:2] / palm[2] + matrix[:2, 2]
        assert middle.tolist() == pytest.approx([(surface.shape[1] - 1) / 2.0] * 2, abs=1e-3)


def test_missing_measurements_and_what_is_beyond_the_rim_are_infinite(frames: HandScenes):
    image = torch.full_like(frames.depth[0], torch.nan)
    image[:, :100] = 0.7
    joints = torch.tensor([-0.25, 0.0, 0.6]).expand(1, 14, 3)
    window = hand_windows([image], CAMERA, joints).depth[0]
    assert window.unique().tolist() == pytest.approx([0.7, float("inf")])
    assert window[:, 0].isinf().all() and window[:, -1].isinf().all()


def test_pairs_show_the_same_hand_in_the_same_crop(frames: HandScenes):
    source = HandPairSource(hand_windows(frames.depth, CAMERA, frames.joints), HandCropConfig(rotated_share=1.0))
    pair = source.pairs(16, 1)
    assert torch.equal(pair.real.joints, pair.rendered.joints)
    hand = pair.real.mask_visible
    real, rendered = (hand & (crops.crops[:, 0] < 1.0) for crops in (pair.real, pair.rendered))
    common = (real & rendered).sum() / (real | rendered).sum()
    assert common > 0.85 and 0.3 < hand.float().mean() < 0.95
    shifted = rendered.roll(1, 0)  # another hand
    assert (real & shifted).sum() / (real | shifted).sum() < 0.5
    again = source.pairs(16, 1)
    assert torch.equal(again.real.crops, pair.real.crops) and torch.equal(again.real.rough_crops, pair.real.rough_crops)
    assert not torch.equal(source.pairs(16, 2).real.crops, pair.real.crops)


def test_joints_of_left_hands_are_refused_and_single_ones_left_out(frames: HandScenes):
    windows = hand_windows(frames.depth, CAMERA, frames.joints)
    mirrored = windows.joints * torch.tensor([-1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"5 of 5 hands have joints that no right hand can have: .* left ones"):
        HandPairSource(HandScenes(windows.depth, windows.intrinsics, mirrored), HandCropConfig())
    mixed = torch.cat([mirrored[:2], windows.joints[2:]])
    source = HandPairSource(HandScenes(windows.depth, windows.intrinsics, mixed), HandCropConfig())
    assert source.left_out == 2 and torch.equal(source.real.joints, windows.joints[2:])
    with pytest.raises(ValueError, match="a palm behind the camera"):
        hand_windows(frames.depth, CAMERA, -frames.joints)
