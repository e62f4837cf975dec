"""Drawn hands: joints lie in or behind the skin that is seen, seeds decide everything, the prior knows such poses."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.data.hand_scenes import (
    HandCropConfig,
    HandCropDraw,
    HandSceneConfig,
    draw_frames,
    draw_scenes,
    rough_centres,
)
from pose_estimation_ros.data.nyu_hand import CAMERA, PALM
from pose_estimation_ros.geometry.camera import project_points

CLEAN = HandSceneConfig(noisy_share=0.0)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(8)


def test_every_joint_lies_behind_the_skin_that_the_camera_sees():
    for scenes in (draw_scenes(40, CLEAN, generator()), draw_frames(4, CLEAN, CAMERA, generator())):
        count, height, width = scenes.depth.shape
        pixels = project_points(scenes.joints, torch.eye(4).expand(count, 4, 4), scenes.intrinsics).round().long()
        place = pixels[..., 1].clamp(0, height - 1) * width + pixels[..., 0].clamp(0, width - 1)
        surface = scenes.depth.flatten(1).gather(1, place)
        behind = scenes.joints[..., 2] - surface
        assert (behind > 0.0).float().mean() > 0.98  # a tip may be at the rim of a pixel
        assert behind[:, PALM].max() < 0.25


@pytest.mark.xfail(strict=True, reason="the mean shift drifts along forearms that are seen whole")
def test_the_search_begins_within_reach_of_the_palm():
    scenes = draw_scenes(60, CLEAN, generator())
    distance = (rough_centres(scenes, torch.full((60,), 0.3)) - scenes.joints[:, PALM]).norm(dim=1)
    assert distance.quantile(0.9) < 0.12


def test_equal_seeds_make_equal_crops_and_others_others():
    draw = HandCropDraw(HandSceneConfig(), HandCropConfig(size=32))
    one, same, other = draw(1, 6), draw(1, 6), draw(2, 6)
    assert torch.equal(one.crops, same.crops) and torch.equal(one.joints, same.joints)
    assert not torch.equal(one.crops, other.crops)
    assert (one.crops < 1.0).flatten(1).any(dim=1).all() and one.joints.abs().max() < 1.3


def test_joints_without_images_are_distributed_as_those_of_crops():
    draw = HandCropDraw(CLEAN, HandCropConfig(size=32, per_scene=1))
    crops, drawn = draw(3, 160).joints, draw.joints(4, 2000)
    assert (crops.mean(dim=0) - drawn.mean(dim=0)).abs().max() < 0.12
    assert (crops.std(dim=0) - drawn.std(dim=0)).abs().max() < 0.09
