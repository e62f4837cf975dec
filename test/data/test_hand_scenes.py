"""Drawn hands: joints lie in or behind the skin that is seen, seeds decide everything, the prior knows such poses."""

from __future__ import annotations

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


def test_the_palm_is_in_the_cube_in_which_it_is_looked_for():
    """The search drifts along forearms that are seen whole, out of cubes of a hand's size."""
    scenes = draw_scenes(60, CLEAN, generator())
    config = HandCropConfig()
    offset = rough_centres(scenes, torch.full((60,), config.cube_side_m)) - scenes.joints[:, PALM]
    half = 0.5 * config.search_scale * config.cube_side_m
    assert (offset.abs() < half).all(dim=1).float().mean() > 0.95


def test_crops_for_the_centre_are_larger_and_a_share_of_them_lies_about_the_palm():
    config = HandCropConfig(size=32, near_share=0.5, near_std_m=0.0, rough_std_m=0.0, rotated_share=0.0)
    drawn = HandCropDraw(CLEAN, config)(1, 80)
    near = drawn.palm.abs().amax(dim=1) < 1e-4
    assert 0.25 < near.float().mean() < 0.75
    assert drawn.palm[~near].abs().amax(dim=1).median() > 0.05
    tight = HandCropDraw(CLEAN, config.model_copy(update={"search_scale": 1.0}))(1, 80)
    torch.testing.assert_close(tight.palm, config.search_scale * drawn.palm)


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
