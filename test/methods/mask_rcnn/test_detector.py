"""Detection: masks land where they belong, duplicates go, damaged bundles are refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.mask_rcnn.detector import MaskRCNN, load
from pose_estimation_ros.methods.mask_rcnn.settings import MaskRCNNSettings
from pose_estimation_ros.methods.segmentation import Segmenter, paste_mask
from pose_estimation_ros.methods.test_time_augmentation import AUGMENTED, PLAIN
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork
from pose_estimation_ros.objects.bundle import Bundle, BundleError, PosePrior, save_weights
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.settings import parse_assignments

CPU = torch.device("cpu")
TINY = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "channels": 8, "box_hidden": 8}


class FixedNetwork(nn.Module):
    """Answer every image with the same detections."""

    def __init__(self, boxes: list[list[float]], labels: list[int], scores: list[float], masks: torch.Tensor) -> None:
        super().__init__()
        self.roi_heads = SimpleNamespace(score_thresh=0.0)
        self.answer = {
            "boxes": torch.tensor(boxes),
            "labels": torch.tensor(labels),
            "scores": torch.tensor(scores),
            "masks": masks,
        }
        self.seen: torch.Tensor | None = None

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        self.seen = images
        return [self.answer]


def detector(network: FixedNetwork, input_width: int, max_mask_overlap: float = 0.6) -> MaskRCNN:
    return MaskRCNN(Segmenter(network, input_width, CPU, max_mask_overlap))


def frame_of(width: int, height: int, value: int = 128) -> Frame:
    intrinsics = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    return Frame(np.full((height, width, 3), value, np.uint8), Camera(intrinsics, width, height))


def bundle_at(path: Path, names: tuple[str, ...] = ("ball", "cube")) -> Bundle:
    corners = ((-0.05,) * 3, (0.05,) * 3)
    models = tuple(ObjectModel(i + 1, name, 0.1, corners, Path(f"{name}.ply")) for i, name in enumerate(names))
    return Bundle(path, path.name, Catalog(models), {}, PosePrior())


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_full_mask_covers_exactly_the_pixel_centres_in_the_box():
    mask = paste_mask(np.ones((28, 28)), np.array([2.3, 3.0, 7.8, 9.4]), 20, 12)
    expected = np.zeros((20, 12), dtype=bool)
    expected[3:10, 3:8] = True
    np.testing.assert_array_equal(mask, expected)


def test_edge_lies_where_the_cells_put_it():
    ramp = np.tile((np.arange(28) + 0.5) / 28, (28, 1))  # crosses one half at the centre of the box
    mask = paste_mask(ramp, np.array([10.0, 0.0, 40.5, 10.0]), 11, 50)
    columns = np.flatnonzero(mask[5])
    assert columns[0] == 26 and columns[-1] == 40  # the centre is 25.25


def test_box_beyond_the_image_is_cut_not_squeezed():
    cells = np.zeros((28, 28))
    cells[:, 14:] = 1.0
    mask = paste_mask(cells, np.array([-20.0, -3.0, 20.0, 30.0]), 16, 32)
    np.testing.assert_array_equal(np.flatnonzero(mask[8]), np.arange(0, 21))
    assert not paste_mask(cells, np.array([40.0, 0.0, 60.0, 10.0]), 16, 32).any()


@settings(max_examples=40, deadline=None)
@given(
    centre=st.tuples(st.floats(30, 70), st.floats(30, 70)),
    radii=st.tuples(st.floats(8, 26), st.floats(8, 26)),
    angle=st.floats(0, 3.1),
)
def test_pasting_inverts_the_training_targets(centre: tuple, radii: tuple, angle: float):
    """Masks that the network is taught come back as the masks they were made of."""
    y, x = np.mgrid[:100, :100]
    along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
    ellipse = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1.0
    rows, columns = np.nonzero(ellipse)
    box = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    taught = project_masks_on_boxes(
        torch.from_numpy(ellipse.astype(np.uint8))[None], torch.from_numpy(box).float()[None], torch.tensor([0]), 28
    )
    assert overlap(paste_mask(taught[0].numpy(), box, 100, 100), ellipse) > 0.98  # half a pixel off gives below 0.97


def test_boxes_return_to_the_pixels_of_the_camera():
    """A box in the resized image is mapped back with pixel centres at integers."""
    network = FixedNetwork([[59.5, 79.5, 119.5, 159.5]], [2], [0.9], torch.ones(1, 1, 28, 28))
    found = detector(network, 480).detect(frame_of(960, 640), 0.5)
    assert network.seen.shape == (1, 3, 320, 480)
    assert float(network.seen.mean()) == pytest.approx(128 / 255)
    assert [item.object_index for item in found] == [1]
    np.testing.assert_allclose(found[0].box, [119.5, 159.5, 239.5, 319.5])
    rows, columns = np.nonzero(found[0].mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (160, 319, 120, 239)


@pytest.mark.parametrize(
    ("width", "height", "seen"),
    [(480, 960, (960, 480)), (120, 1920, (960, 60)), (8, 2000, (960, 4)), (1, 1, (480, 480)), (2000, 1, (1, 480))],
)
def test_what_the_network_sees_is_bounded_and_boxes_return_from_it(width, height, seen):
    """However narrow the image, the network sees at most twice the square of its input width."""
    rows, columns = seen
    network = FixedNetwork([[-0.5, -0.5, columns - 0.5, rows - 0.5]], [1], [0.9], torch.ones(1, 1, 28, 28))
    (found,) = detector(network, 480).detect(frame_of(width, height), 0.5)
    assert network.seen.shape == (1, 3, rows, columns)
    np.testing.assert_allclose(found.box, [-0.5, -0.5, width - 0.5, height - 0.5])
    assert found.mask.all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 1), (1, 640), (8, 2000), (2000, 8)])
def test_networks_take_images_of_any_shape(width, height):
    network = MaskRCNNNetwork(1, **TINY)
    assert len(MaskRCNN(Segmenter(network, 96, CPU, 0.6)).detect(frame_of(width, height), 0.0)) <= 30


def test_two_objects_cannot_be_seen_at_the_same_pixels():
    boxes = [[10.0, 10.0, 50.0, 50.0], [11.0, 10.0, 51.0, 50.0], [60.0, 10.0, 90.0, 40.0]]
    network = FixedNetwork(boxes, [1, 2, 2], [0.6, 0.8, 0.7], torch.ones(3, 1, 28, 28))
    kept = detector(network, 96).detect(frame_of(96, 64), 0.5)
    assert [(item.object_index, round(item.score, 1)) for item in kept] == [(1, 0.8), (1, 0.7)]
    everything = detector(network, 96, 1.0).detect(frame_of(96, 64), 0.5)
    assert [round(item.score, 1) for item in everything] == [0.8, 0.7, 0.6]


def test_same_box_with_disjoint_masks_keeps_both():
    masks = torch.zeros(2, 1, 28, 28)
    masks[0, :, :, :14], masks[1, :, :, 14:] = 1.0, 1.0
    network = FixedNetwork([[10.0, 10.0, 50.0, 50.0]] * 2, [1, 2], [0.6, 0.8], masks)
    assert len(detector(network, 96).detect(frame_of(96, 64), 0.5)) == 2


def test_weights_of_another_network_are_refused(tmp_path: Path):
    other = MaskRCNNNetwork(2, **{**TINY, "channels": 16})
    bundle = save_weights(bundle_at(tmp_path), "detector", other.state_dict(), dict(TINY), 96, {})
    with pytest.raises(BundleError, match=r"detector\.safetensors: the weights do not fit.*size mismatch"):
        load(LoadContext(bundle, CPU, MaskRCNNSettings()))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({**TINY, "depth": 3}, "depth"),
        ({**TINY, "classes": 5}, r"classes = 5: expected 2"),
        ({"backbone": "vgg"}, "'vgg'"),
    ],
)
def test_architecture_that_is_not_understood_is_named(tmp_path: Path, architecture: dict, message: str):
    state = MaskRCNNNetwork(2, **TINY).state_dict()
    bundle = save_weights(bundle_at(tmp_path), "detector", state, architecture, 96, {})
    with pytest.raises(BundleError, match=rf"bundle\.yaml: networks\.detector\.architecture.*{message}"):
        load(LoadContext(bundle, CPU, MaskRCNNSettings()))


def test_bundle_without_detector_says_how_to_train_one(tmp_path: Path):
    with pytest.raises(BundleError, match="no network 'detector'.*pose_train"):
        load(LoadContext(bundle_at(tmp_path), CPU, MaskRCNNSettings()))


@pytest.mark.parametrize(
    ("choice", "refines", "is_augmented"),
    [("auto", False, False), ("auto", True, True), ("always", False, True), ("never", True, False)],
)
def test_the_image_is_seen_in_several_ways_where_poses_are_refined(tmp_path, choice, refines, is_augmented):
    state = MaskRCNNNetwork(2, **TINY).state_dict()
    bundle = save_weights(bundle_at(tmp_path), "detector", state, dict(TINY), 96, {})
    # As users write it: YAML takes some words, such as on and off, for something else.
    run = resolve_run(bundle, [parse_assignments([f"mask_rcnn.test_time_augmentation={choice}"])])
    own = run.methods["mask_rcnn"]
    views = load(LoadContext(bundle, CPU, own, refines=refines)).segmenter.views
    assert views == (AUGMENTED if is_augmented else PLAIN)
