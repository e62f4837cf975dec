"""The Mask R-CNN network: what it refuses, what it learns from, which weights it takes over."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork, load_coco_weights
from pose_estimation_ros.networks.precision import autocast, use_precision

TINY = {"widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "channels": 8, "box_hidden": 8}
LARGE = {
    "backbone": "resnet50_fpn",
    "channels": 256,
    "box_hidden": 1024,
    "mask_layers": 4,
    "anchor_sizes": (32.0, 64.0, 128.0, 256.0, 512.0),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def target(boxes: list[list[float]], height: int, width: int) -> dict[str, torch.Tensor]:
    masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.ones(len(boxes), dtype=torch.int64),
        "masks": masks,
    }


def test_scene_without_objects_teaches_background_only():
    network = MaskRCNNNetwork(2, **TINY).train()
    losses = network(torch.rand(2, 3, 64, 96), [target([], 64, 96)] * 2)
    sum(losses.values()).backward()
    assert float(losses["loss_classifier"].detach()) > 0.0
    for name in ("loss_rpn_box_reg", "loss_box_reg", "loss_mask"):
        assert float(losses[name].detach()) == 0.0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_every_weight_takes_part_in_training():
    network = MaskRCNNNetwork(2, **TINY).train()
    losses = network(torch.rand(2, 3, 64, 96), [target([[10.0, 10.0, 40.0, 44.0]], 64, 96)] * 2)
    sum(losses.values()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert idle == []


def test_detections_stay_inside_an_image_of_any_size():
    """The padding to a multiple of the stride is no place for an object."""
    network = MaskRCNNNetwork(2, **TINY).eval()
    network.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        found = network(torch.rand(1, 3, 50, 70))[0]
    assert len(found["boxes"]) > 0
    assert found["boxes"][:, [0, 2]].max() <= 70 and found["boxes"][:, [1, 3]].max() <= 50


def test_anchors_lie_on_the_strides_of_the_maps():
    network = MaskRCNNNetwork(2, **TINY, anchor_sizes=(16.0, 32.0, 64.0, 128.0)).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        maps = list(network.backbone(image).values())
        anchors = network.rpn.anchor_generator(ImageList(image, [(64, 96)]), maps)[0]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    start = 0
    for stride, size in zip((4, 8, 16, 32), (16.0, 32.0, 64.0, 128.0), strict=True):
        square = anchors[start + 1]  # of the ratios 1:2, 1:1, 2:1
        assert square[2:] - square[:2] == pytest.approx([size, size])
        assert centres[start + 3] - centres[start] == pytest.approx([stride, 0.0])
        start += 3 * (64 // stride) * (96 // stride)
    assert start == len(anchors)


def test_boxes_are_as_exact_in_bfloat16():
    """Networks that move no box return anchors; 8 bits would round those at 500 pixels to the next even pixel."""
    network = MaskRCNNNetwork(2, **TINY).eval()
    network.roi_heads.score_thresh = 0.0
    for layer in (network.rpn.head.bbox_pred, network.roi_heads.box_predictor.bbox_pred):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    image = torch.rand(1, 3, 480, 640)
    with torch.inference_mode():
        with use_precision("bfloat16"), autocast(image.device):
            boxes = network(image)[0]["boxes"]
        maps = list(network.backbone(image).values())
        anchors = network.rpn.anchor_generator(ImageList(image, [(480, 640)]), maps)[0]
    inside = anchors.clamp(min=0.0, max=640.0)
    inside[:, [1, 3]] = inside[:, [1, 3]].clamp(max=480.0)
    assert boxes.max() > 400.0
    assert (boxes[:, None] - inside).abs().amax(dim=2).amin(dim=1).max() < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 0}, "classes = 0"),
        ({"backbone": "vgg"}, "backbone = 'vgg', expected one of compact, resnet50_fpn"),
        ({"anchor_sizes": (16.0, 32.0)}, "2 anchor sizes .* expected 4"),
        ({"backbone": "resnet50_fpn"}, "channels = 8, expected 256"),
    ],
)
def test_settings_are_refused_by_name(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MaskRCNNNetwork(**{"classes": 2, **TINY, **settings})


def test_coco_weights_are_taken_over_but_for_the_classes(monkeypatch: pytest.MonkeyPatch):
    published = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    monkeypatch.setattr(MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", lambda self, progress: published)
    network = MaskRCNNNetwork(2, **LARGE)
    load_coco_weights(network)
    own = network.state_dict()
    different = {name for name in own if name not in published or not torch.equal(own[name], published[name])}
    assert {name.rsplit(".", 2)[0] for name in different} == {"roi_heads.box_predictor", "roi_heads.mask_predictor"}


def test_missing_network_access_is_explained(monkeypatch: pytest.MonkeyPatch):
    def refuse(self, progress):
        raise URLError("no route")

    monkeypatch.setattr(MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", refuse)
    with pytest.raises(OSError, match="pretrained: coco: cannot read https.*set pretrained: null"):
        load_coco_weights(MaskRCNNNetwork(2, **LARGE))


def test_compact_backbone_has_no_pretrained_weights():
    with pytest.raises(ValueError, match="only for resnet50_fpn.*pretrained: imagenet with network: {encoder: lite0}"):
        load_coco_weights(MaskRCNNNetwork(2, **TINY))
