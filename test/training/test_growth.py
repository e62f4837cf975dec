"""Networks that get room for further objects say of the earlier ones what they said."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.methods.corners.network import CornersNet
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork
from pose_estimation_ros.training.growth import grown_weights

SMALL = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]}


def rows(role: str) -> dict[str, int]:
    training = find_training(role)
    assert training.object_rows is not None
    return dict(training.object_rows)


def test_a_grown_pose_network_says_the_same_of_earlier_objects() -> None:
    torch.manual_seed(0)
    before, after = (Pix2PoseNet(count, **SMALL, decoder=[8, 8, 8], bins=4).eval() for count in (2, 4))
    after.load_state_dict(grown_weights(before.state_dict(), rows("pix2pose"), 2, 4))
    crops, index = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 1])
    with torch.inference_mode():
        for first, second in zip(before(crops, index), after(crops, index), strict=True):
            torch.testing.assert_close(first, second)
        assert torch.isfinite(after(crops, index + 2).coordinates).all()


def test_a_grown_corner_network_says_the_same_of_earlier_objects() -> None:
    torch.manual_seed(0)
    before, after = (CornersNet(count, 32, 8, 4, widths=(4, 4, 4, 4), blocks=(1, 1, 1, 1)).eval() for count in (2, 4))
    before.outline.normal_()
    after.load_state_dict(grown_weights(before.state_dict(), rows("corners"), 2, 4))
    crops, index = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 1])
    with torch.inference_mode():
        for first, second in zip(before(crops, index), after(crops, index), strict=True):
            torch.testing.assert_close(first, second)
    torch.testing.assert_close(before.outline, after.outline[:2])


def test_a_grown_detector_scores_earlier_classes_as_before() -> None:
    torch.manual_seed(0)
    before, after = (MaskRCNNNetwork(count, **SMALL, channels=8, box_hidden=16).eval() for count in (2, 3))
    after.load_state_dict(grown_weights(before.state_dict(), rows("detector"), 2, 3))
    features = torch.rand(5, 16)
    for name in ("cls_score", "bbox_pred"):
        layers = [network.roi_heads.box_predictor.get_submodule(name) for network in (before, after)]
        first, second = (layer(features) for layer in layers)
        torch.testing.assert_close(first, second[:, : first.shape[1]])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="5 rows, expected those of 2 objects"):
        grown_weights({"head": torch.zeros(5, 2)}, {"head": 1}, 2, 3)
    with pytest.raises(ValueError, match="from 3 to 2 objects"):
        grown_weights({}, {}, 3, 2)
