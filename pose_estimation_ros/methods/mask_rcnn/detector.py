"""Detection with Mask R-CNN."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.mask_rcnn.network import MaskRCNNNetwork
from pose_estimation_ros.methods.mask_rcnn.settings import MaskRCNNSettings
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError

ROLE = "detector"  # of the network in the bundle


class MaskRCNN:
    """Find the objects of a bundle with boxes and masks.

    Args:
        network: weights loaded.
        input_width: the image is resized to this width, keeping its aspect, before the network sees it.
        device: where the network runs.
        settings: how detections are told apart.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        input_width: int,
        device: torch.device,
        settings: MaskRCNNSettings | None = None,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.input_width = input_width
        self.device = device
        self.settings = settings or MaskRCNNSettings()

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: torch.device, settings: MaskRCNNSettings | None = None) -> MaskRCNN:
        """Load the detector of a bundle.

        Raises:
            BundleError: if the bundle has no detector, or its weights do not fit.
        """
        entry = bundle.network(ROLE)
        network = build_network(bundle, entry.architecture)
        try:
            network.load_state_dict(bundle.weights(ROLE))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise BundleError(
                f"{bundle.path / entry.file}: the weights do not fit networks.{ROLE}.architecture of "
                f"{BUNDLE_FILE}: {reason}"
            ) from error
        return cls(network, entry.input_size, device, settings)

    @torch.inference_mode()
    def detect(self, frame: Frame, score_threshold: float) -> list[Detection]:
        """Return the objects scored at least `score_threshold`, best first; see `Detector`."""
        height, width = frame.rgb.shape[:2]
        small_height = max(1, round(height * self.input_width / width))
        small = cv2.resize(frame.rgb, (self.input_width, small_height), interpolation=cv2.INTER_AREA)
        image = torch.from_numpy(small).to(self.device).permute(2, 0, 1)[None].float() / 255.0
        self.network.roi_heads.score_thresh = score_threshold
        with autocast(self.device):
            found = self.network(image)[0]
        scale = np.array([width / self.input_width, height / small_height] * 2)
        return self._detections(found, scale, height, width)

    def _detections(self, found: dict[str, Tensor], scale: np.ndarray, height: int, width: int) -> list[Detection]:
        boxes = (found["boxes"].float().cpu().numpy() + 0.5) * scale - 0.5
        boxes = np.clip(boxes, -0.5, np.array([width, height] * 2) - 0.5)
        scores = found["scores"].float().cpu().numpy()
        labels = found["labels"].cpu().numpy()
        cells = found["masks"][:, 0].float().cpu().numpy()
        kept: list[Detection] = []
        for row in np.argsort(-scores, kind="stable"):
            mask = paste_mask(cells[row], boxes[row], height, width)
            # Two objects cannot be seen at the same pixels.
            if any(_mask_overlap(mask, boxes[row], other) > self.settings.max_mask_overlap for other in kept):
                continue
            kept.append(Detection(int(labels[row]) - 1, float(scores[row]), boxes[row], mask))
        return kept


def load(context: LoadContext) -> MaskRCNN:
    """Load the detector of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return MaskRCNN.from_bundle(context.bundle, context.device, context.settings)


def build_network(bundle: Bundle, architecture: dict[str, Any]) -> MaskRCNNNetwork:
    """Build the network of a bundle, untrained.

    Raises:
        BundleError: if the architecture holds what the network does not know, or another number of classes.
    """
    where = f"{bundle.path / BUNDLE_FILE}: networks.{ROLE}.architecture"
    settings = {"classes": len(bundle.catalog), **architecture}
    if settings["classes"] != len(bundle.catalog):
        raise BundleError(f"{where}.classes = {settings['classes']}: expected {len(bundle.catalog)}, one per object")
    try:
        return MaskRCNNNetwork(**settings)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{where}: {error}") from error


def paste_mask(cells: np.ndarray, box: np.ndarray, height: int, width: int, threshold: float = 0.5) -> np.ndarray:
    """Draw the mask of a box into an image.

    Args:
        cells: probability of each cell of the box, shape (M, M).
        box: x0 y0 x1 y1 in pixels, shape (4,); cell i is centred at x0 + (i + 0.5) / M * (x1 - x0).
        height: rows of the image.
        width: columns of the image.
        threshold: probability from which a pixel is set.

    Returns:
        Mask (H, W) bool. Pixel centres inside the box are interpolated between cells; all others are false.
    """
    mask = np.zeros((height, width), dtype=bool)
    left, top = np.maximum(np.ceil(box[:2]), 0).astype(int)
    right, bottom = np.minimum(np.floor(box[2:]) + 1, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return mask
    step = cells.shape[0] / (box[2:] - box[:2])
    start = (np.array([left, top]) - box[:2]) * step - 0.5
    cell_from_pixel = np.array([[step[0], 0.0, start[0]], [0.0, step[1], start[1]]])
    window = cv2.warpAffine(
        np.ascontiguousarray(cells, dtype=np.float32),
        cell_from_pixel,
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask[top:bottom, left:right] = window >= threshold
    return mask


def _mask_overlap(mask: np.ndarray, box: np.ndarray, other: Detection) -> float:
    """Return the intersection over union of a mask and that of another detection, looking only inside the boxes."""
    left, top = np.maximum(np.floor(np.minimum(box[:2], other.box[:2])), 0).astype(int)
    right, bottom = np.ceil(np.maximum(box[2:], other.box[2:])).astype(int) + 1
    assert other.mask is not None
    first, second = mask[top:bottom, left:right], other.mask[top:bottom, left:right]
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
