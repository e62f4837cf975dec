"""From depth images to hands, with a network that says what it is told to say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pose_estimation_ros.data.hand_crops import points_to_cube
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, draw_frames
from pose_estimation_ros.data.nyu_hand import JOINTS, PALM
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.hands.estimator import HandFinder
from pose_estimation_ros.methods.hands.network import HandNet
from pose_estimation_ros.methods.hands.settings import HandSettings
from pose_estimation_ros.settings import SettingsError, resolve

CAMERA = Camera(np.array([[290.0, 0.0, 159.5], [0.0, 290.0, 119.5], [0.0, 0.0, 1.0]]), 320, 240)
SETTINGS = HandSettings()
SIDE = torch.tensor([0.3])


def frames(count: int, distance: tuple[float, float] = (0.6, 0.7), **fields: object) -> tuple[np.ndarray, np.ndarray]:
    """Return depth images (N, 240, 320) and true joints (N, 14, 3)."""
    config = HandSceneConfig(noisy_share=0.0, around_share=0.0, distance_m=distance, **fields)
    scenes = draw_frames(count, config, CAMERA, torch.Generator().manual_seed(4))
    return scenes.depth.numpy(), scenes.joints.numpy()


class TruePalm(torch.nn.Module):
    """Says where the palm is, in the cube about the place to which the search went, and then in one about the palm."""

    def __init__(self, palm: torch.Tensor, intrinsics: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.palm, self.intrinsics, self.scale = palm, intrinsics, scale
        self.about: torch.Tensor | None = None

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        found = points_to_cube(self.palm[None], self.intrinsics, self.about, self.scale * SIDE)[:, 0]
        self.about = self.palm  # about which the next cube is cut
        return found


class TrueJoints(HandNet):
    """Says where the joints are, in the cube about the palm."""

    def __init__(self, joints: np.ndarray) -> None:
        super().__init__(size=64, widths=[16, 16, 16, 16], blocks=1, features=16, search_scale=1.8)
        self.true = torch.from_numpy(joints).float()[None]
        self.intrinsics = torch.from_numpy(CAMERA.intrinsics).float()[None]
        self.centre = TruePalm(self.true[:, PALM], self.intrinsics, self.search_scale)

    def forward(self, crops: torch.Tensor, is_real: bool = False) -> torch.Tensor:
        return points_to_cube(self.true, self.intrinsics, self.true[:, PALM], SIDE)


class Finder(HandFinder):
    """Tells the network where the search went."""

    def joints_at(self, depth, intrinsics, centres):
        self.network.centre.about = centres
        return super().joints_at(depth, intrinsics, centres)


def finder(joints: np.ndarray, **settings: object) -> Finder:
    return Finder(TrueJoints(joints).eval(), replace_settings(**settings))


def replace_settings(**changes: object) -> HandSettings:
    return HandSettings.model_validate({**SETTINGS.model_dump(), **changes})


class PalmBeside(torch.nn.Module):
    """Says that the palm is beside the mean of what was measured."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return banded_means(crops, 1)[:, 0] + torch.tensor([0.05, 0.1, 0.1])


class BandedJoints(HandNet):
    """Looks at crops: joints are beside the means of what was measured in bands of rows, and before or behind them."""

    def __init__(self) -> None:
        super().__init__(size=64, widths=[16, 16, 16, 16], blocks=1, features=16)
        self.centre = PalmBeside()

    def forward(self, crops: torch.Tensor, is_real: bool = False) -> torch.Tensor:
        depths = torch.linspace(-0.3, 0.3, len(JOINTS))  # the first are before the surface
        return banded_means(crops, len(JOINTS)) + F.pad(depths[:, None], (2, 0)) + torch.tensor([0.1, 0.0, 0.0])


def banded_means(crops: torch.Tensor, bands: int) -> torch.Tensor:
    """Return the means (B, bands, 3) of what crops (B, 1, S, S) show in bands of their rows, zero where nothing."""
    size = crops.shape[-1]
    place = (torch.arange(size) + 0.5) * 2.0 / size - 1.0
    y, x = torch.meshgrid(place, place, indexing="ij")
    points = torch.stack([x.expand(len(crops), -1, -1), y.expand(len(crops), -1, -1), crops[:, 0]], dim=3)
    measured = (crops[:, 0] < 1.0)[..., None]
    means = []
    for rows in torch.arange(size).tensor_split(bands):
        seen = measured[:, rows]
        means.append((points[:, rows] * seen).sum(dim=(1, 2)) / seen.sum(dim=(1, 2)).clamp(min=1))
    return torch.stack(means, dim=1)


def looking(**settings: object) -> HandFinder:
    return HandFinder(BandedJoints().eval(), replace_settings(min_score=0.0, min_inside=0.0, passes=1, **settings))


def random_network(**settings: object) -> HandFinder:
    torch.manual_seed(1)
    network = HandNet(size=64, widths=[16, 16, 16, 16], blocks=1, features=16).eval()
    network.set_prior(0.2 * torch.randn(42), torch.eye(42)[:30])
    return HandFinder(network, replace_settings(min_score=0.0, min_inside=0.0, **settings))


def test_joints_come_back_in_metres_with_a_full_score():
    depth, joints = frames(3)
    for image, true in zip(depth, joints, strict=True):
        result = finder(true).find(image, CAMERA)
        (hand,) = result.hands
        assert np.abs(hand.joints - true).max() < 1e-5
        assert hand.score > 0.9 and hand.inside == 1.0 and result.reason is None


def test_joints_before_the_surface_or_beside_the_hand_are_no_hand():
    depth, joints = frames(3)
    for offset in ((0.0, 0.0, -0.08), (0.12, 0.0, 0.0)):
        result = finder(joints[2] + np.float32(offset)).find(depth[2], CAMERA)
        assert not result.hands and result.reason == "what is in range does not look like a hand"


def test_pixels_without_a_measurement_do_not_matter():
    depth, _ = frames(1)
    (whole,) = looking().find(depth[0], CAMERA).hands
    assert 0.0 < whole.score < 1.0
    for nothing in (0.0, np.nan, -1.0):
        image = np.where(np.isinf(depth[0]), np.float32(nothing), depth[0])
        (hand,) = looking().find(image, CAMERA).hands
        assert np.array_equal(hand.joints, whole.joints) and hand.score == whole.score
    more = np.where(np.isinf(depth[0]) & (np.arange(320) > 160), np.float32(0.0), depth[0] + np.float32(0.01))
    (moved,) = looking().find(more, CAMERA).hands
    assert np.abs(moved.joints - whole.joints).max() > 1e-3  # what is measured does matter


def test_a_body_behind_the_range_does_not_matter_and_one_in_range_is_no_hand():
    depth, joints = frames(1)
    behind = np.where(np.isinf(depth[0]), np.float32(1.3), depth[0])
    assert len(finder(joints[0]).find(behind, CAMERA).hands) == 1
    wall = np.full((240, 320), 0.7, dtype=np.float32)
    assert random_network().find(wall, CAMERA).reason == "nothing of a hand's size in range"
    empty = random_network().find(np.zeros((240, 320), dtype=np.float32), CAMERA)
    assert empty.hands == [] and empty.reason == "no depth measured between 0.2 and 1.2 m"


def test_a_hand_that_the_rim_cuts_is_left_out_and_said_so():
    depth, joints = frames(3)
    gone = round(CAMERA.project(joints[2, PALM])[0, 0])  # columns
    image = np.full_like(depth[2], np.inf)
    image[:, : 320 - gone] = depth[2][:, gone:]
    moved = joints[2] - np.float32([gone / 290.0, 0.0, 0.0]) * joints[2, :, 2:]
    result = finder(moved).find(image, CAMERA)
    assert result.hands == [] and result.reason == "the image's rim cuts the hand"
    (hand,) = finder(moved, min_inside=0.0, min_score=0.0).find(image, CAMERA).hands
    assert 0.2 < hand.inside < 0.8


def test_two_hands_that_are_apart_are_found_the_nearer_one_first():
    matrix = np.array([[290.0, 0.0, 319.5], [0.0, 290.0, 119.5], [0.0, 0.0, 1.0]])
    wide = replace(CAMERA, intrinsics=matrix, width=640)
    left, _ = frames(1, (0.8, 0.8))
    right, _ = frames(1, (0.55, 0.55))
    both = np.concatenate([left[0], right[0]], axis=1)
    found = random_network(max_hands=5).find(both, wide).hands
    assert len(found) == 2 and found[0].joints[:, 2].mean() < found[1].joints[:, 2].mean()
    assert len(random_network(max_hands=1).find(both, wide).hands) == 1


def test_left_hands_are_right_ones_in_the_mirror():
    depth, _ = frames(2)
    for image in depth:
        right = looking().find(image, CAMERA).hands[0].joints
        left = looking(side="left").find(np.ascontiguousarray(image[:, ::-1]), CAMERA).hands[0].joints
        assert np.allclose(left, right * [-1.0, 1.0, 1.0], atol=0.005)  # crops take the nearest pixel
        assert np.ptp(right, axis=0).min() > 0.01  # joints are apart


def test_later_passes_look_about_the_palm_that_was_found():
    depth, _ = frames(1)
    first, later = (random_network(passes=count).find(depth[0], CAMERA).hands[0].joints for count in (1, 2))
    moved = later - first
    # A network that says the same of every crop finds its joints about a centre that has moved by its palm.
    assert np.linalg.norm(moved, axis=1).min() > 1e-3


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"shape \(10, 10\), expected \(240, 320\)"):
        random_network().find(np.zeros((10, 10)), CAMERA)
    with pytest.raises(SettingsError, match="near_m = 2, far_m = 1.2"):
        from pose_estimation_ros.settings import Layer

        resolve(HandSettings, [Layer("test", {"near_m": 2.0})])


def test_a_pixel_that_the_search_does_not_look_at_is_no_hand():
    depth = np.zeros((240, 320), dtype=np.float32)
    depth[101, 101] = 0.5  # of every second row and column it sees the even ones
    result = looking().find(depth, CAMERA)
    assert not result.hands and result.reason == "nothing of a hand's size in range"
