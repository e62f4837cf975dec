"""The sliding window: votes are found where they lie, at the scale where they agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.patches.detector import PatchLocaliser
from pose_estimation_ros.methods.patches.settings import PatchesSettings
from pose_estimation_ros.networks.heatmap_net import CANVAS, PATCH, HeatmapNet
from pose_estimation_ros.objects.bundle import BundleError, load_bundle

FOCAL = 400.0


class Bright(HeatmapNet):
    """Every patch votes for its own centre as strongly as it is bright in the colour of the object."""

    def patch_features(self, images, is_real):
        windows = torch.nn.functional.avg_pool2d(images, PATCH, 8)
        return windows.flatten(2).transpose(1, 2)

    def read(self, features, object_index, points):
        votes = torch.full((*features.shape[:2], len(points), CANVAS * CANVAS + 1), 1e-9)
        centre = (CANVAS // 2) * CANVAS + CANVAS // 2
        votes[..., centre] = features[:, :, None, int(object_index)] ** 4
        return votes.log()


def localiser(scales: int = 3) -> PatchLocaliser:
    network = Bright(2, points=8, widths=(4, 4, 4, 4, 4), hidden=4).eval()
    return PatchLocaliser(network, [0.1, 0.1], 128, (0.4, 0.8), PatchesSettings(scales=scales))


def frame_with(*spots: tuple[int, int, int, int]) -> Frame:
    image = np.zeros((240, 320, 3), np.uint8)
    for channel, x, y, side in spots:
        image[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2, channel] = 255
    return Frame(image, Camera(np.array([[FOCAL, 0.0, 160.0], [0.0, FOCAL, 120.0], [0.0, 0.0, 1.0]]), 320, 240))


def test_every_object_is_found_where_its_patches_vote() -> None:
    found = {
        item.object_index: item for item in localiser().detect(frame_with((0, 90, 100, 70), (1, 230, 150, 70)), 0.0)
    }
    for index, place in ((0, (90, 100)), (1, (230, 150))):
        centre = (found[index].box[:2] + found[index].box[2:]) / 2.0
        assert np.abs(centre - place).max() < 16.0
        assert np.ptp(found[index].box[[0, 2]]) == pytest.approx(np.ptp(found[index].box[[1, 3]]), abs=2.0)


def test_scales_cover_the_distances_of_the_prior() -> None:
    scales = localiser().scales_of(frame_with())
    # An object of 10 cm spans 100 px at 0.4 m and 50 px at 0.8 m; in training it spanned 64.
    assert scales[0] == pytest.approx(128 / 2.0 / 100.0)
    assert scales[-1] == pytest.approx(128 / 2.0 / 50.0)


def test_large_images_of_short_focal_lengths_are_not_enlarged_without_end() -> None:
    intrinsics = np.array([[FOCAL, 0.0, 2000.0], [0.0, FOCAL, 1500.0], [0.0, 0.0, 1.0]])
    large = Frame(np.zeros((3000, 4000, 3), np.uint8), Camera(intrinsics, 4000, 3000))
    wanted, found = localiser().scales_of(frame_with()), localiser().scales_of(large)
    assert found == pytest.approx([min(scale, (4e6 / 12e6) ** 0.5) for scale in wanted])


def test_a_threshold_leaves_out_what_is_not_there() -> None:
    found = localiser().detect(frame_with((0, 160, 120, 70)), 1e-4)
    assert [item.object_index for item in found] == [0]


def test_wide_patches_are_refused() -> None:
    with pytest.raises(
        BundleError, match=r"heatmaps\.safetensors: trunk 'encoder'.* needs a network of trunk 'patches'"
    ):
        PatchLocaliser.from_bundle(load_bundle("lmo"), torch.device("cpu"))
