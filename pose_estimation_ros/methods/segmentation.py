"""Find boxes and masks in an image with Mask R-CNN: what detectors that do so share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from pose_estimation_ros.geometry.transfer import to_device, to_host
from pose_estimation_ros.methods.test_time_augmentation import PLAIN, Found, View, fuse
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError
from pose_estimation_ros.objects.network_building import build_network

MAX_ASPECT = 2  # height over width of what the network sees at full width


@dataclass(frozen=True)
class Segment:
    """One thing that the network found in an image."""

    label: int  # of its class, from 0
    score: float
    box: np.ndarray  # (4,) x0 y0 x1 y1 in pixels of the image
    mask: np.ndarray  # (H, W) bool, visible pixels


class Segmenter:
    """Run Mask R-CNN on images of any size.

    Args:
        network: weights loaded.
        input_width: the image is resized to this width, keeping its aspect, before the network sees it; one that
            is higher than MAX_ASPECT times its width, to that height. So the network never sees more pixels than
            MAX_ASPECT * (scale * input_width)^2 of a view.
        device: where the network runs.
        max_mask_overlap: of two masks that overlap by more (intersection over union) only the better is kept.
        views: how the network sees every image.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        input_width: int,
        device: torch.device,
        max_mask_overlap: float,
        views: Sequence[View] = PLAIN,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.input_width = input_width
        self.device = device
        self.max_mask_overlap = max_mask_overlap
        self.views = tuple(views)

    @torch.inference_mode()
    def segment(self, rgb: np.ndarray, score_threshold: float) -> list[Segment]:
        """Return what scores at least `score_threshold` in an image (H, W, 3) uint8, best first."""
        # What one view hardly shows may be plain in another.
        self.network.roi_heads.score_thresh = score_threshold / len(self.views)
        found = fuse([self._found(rgb, view) for view in self.views])
        return [item for item in self._segments(found, *rgb.shape[:2]) if item.score >= score_threshold]

    def _found(self, rgb: np.ndarray, view: View) -> Found:
        """Run the network on one view of an image."""
        height, width = rgb.shape[:2]
        small_width, small_height = self._input_size(width, height, view.scale)
        small = cv2.resize(rgb, (small_width, small_height), interpolation=cv2.INTER_AREA)
        seen = np.ascontiguousarray(small[:, ::-1]) if view.is_mirrored else small
        image = to_device(seen, self.device).permute(2, 0, 1)[None].float() / 255.0
        with autocast(self.device):
            found = self.network(image)[0]
        places, scores, labels, cells = to_host(*(found[name] for name in ("boxes", "scores", "labels", "masks")))
        cells = cells[:, 0]
        boxes = (places + 0.5) * np.array([width / small_width, height / small_height] * 2) - 0.5
        if view.is_mirrored:
            boxes[:, [0, 2]] = width - 1 - boxes[:, [2, 0]]
            cells = cells[:, :, ::-1]
        return Found(np.clip(boxes, -0.5, np.array([width, height] * 2) - 0.5), scores, labels, cells)

    def _input_size(self, width: int, height: int, scale: float) -> tuple[int, int]:
        wanted = round(scale * self.input_width)
        small_height, highest = round(height * wanted / width), MAX_ASPECT * wanted
        if small_height > highest:
            return max(1, round(width * highest / height)), highest
        return wanted, max(1, small_height)

    def _segments(self, found: Found, height: int, width: int) -> list[Segment]:
        kept: list[Segment] = []
        for row in np.argsort(-found.scores, kind="stable"):
            box = found.boxes[row]
            mask = paste_mask(found.cells[row], box, height, width)
            # Two objects cannot be seen at the same pixels.
            if not _is_taken(mask, box, kept, self.max_mask_overlap):
                kept.append(Segment(int(found.labels[row]) - 1, float(found.scores[row]), box, mask))
        return kept


def load_segmenter(
    bundle: Bundle,
    role: str,
    classes: int,
    device: torch.device,
    max_mask_overlap: float,
    views: Sequence[View] = PLAIN,
) -> Segmenter:
    """Load a Mask R-CNN of a bundle.

    Args:
        bundle: has the weights.
        role: of the network.
        classes: that it tells apart.
        device: where it runs.
        max_mask_overlap: see `Segmenter`.
        views: see `Segmenter`.

    Raises:
        BundleError: if the bundle has no such network, or its weights do not fit.
    """
    entry = bundle.network(role)
    weights = bundle.weights(role)
    try:
        network = build_network(lambda: _build_network(bundle, role, classes, entry.architecture), weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(
            f"{bundle.path / entry.file}: the weights do not fit networks.{role}.architecture of {BUNDLE_FILE}: "
            f"{reason}"
        ) from error
    return Segmenter(network, entry.input_size, device, max_mask_overlap, views)


def _build_network(bundle: Bundle, role: str, classes: int, architecture: dict[str, Any]) -> MaskRCNNNetwork:
    where = f"{bundle.path / BUNDLE_FILE}: networks.{role}.architecture"
    arguments = {"classes": classes, **architecture}
    if arguments["classes"] != classes:
        raise BundleError(f"{where}.classes = {arguments['classes']}: expected {classes}")
    try:
        return MaskRCNNNetwork(**arguments)
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


def _is_taken(mask: np.ndarray, box: np.ndarray, others: Sequence[Segment], max_overlap: float) -> bool:
    return any(_mask_overlap(mask, box, other) > max_overlap for other in others)


def _mask_overlap(mask: np.ndarray, box: np.ndarray, other: Segment) -> float:
    """Return the intersection over union of a mask and that of another segment, looking only inside the boxes."""
    left, top = np.maximum(np.floor(np.minimum(box[:2], other.box[:2])), 0).astype(int)
    right, bottom = np.ceil(np.maximum(box[2:], other.box[2:])).astype(int) + 1
    first, second = mask[top:bottom, left:right], other.mask[top:bottom, left:right]
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
