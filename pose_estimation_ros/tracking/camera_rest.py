"""Tell from the images alone whether the camera rests."""

from __future__ import annotations

import cv2
import numpy as np

_WIDTH = 160  # of the small image that is compared, pixels
_BLOCK = 16  # side of the blocks whose shifts are measured, pixels of the small image
_LEAST_TEXTURE = 8.0  # mean square of the weaker gradient of a block, grey levels per pixel
_MIN_BLOCKS = 6  # with texture
_MAX_SHIFT = 0.1  # of a block at rest, pixels of the small image
_REST_SHARE = 0.6  # of the blocks: things that move hide others
_REST_QUARTERS = 3  # of the image that have blocks at rest


class CameraRest:
    """Compares every image with the first one since the camera came to rest.

    Most blocks with texture must be where they were, as one step of Lucas and Kanade's method tells; their mean
    brightness may have changed. So must most of those in three quarters of the image: a gripper that the camera carries
    along is no rest. Compared with an old image, a slow drift adds up until it is seen. Without texture nothing is
    known, and the camera counts as moving.
    """

    def __init__(self) -> None:
        self._reference: _Reference | None = None

    def reset(self) -> None:
        """Forget the images."""
        self._reference = None

    def update(self, rgb: np.ndarray) -> bool:
        """Tell whether an image (H, W, 3) uint8 was taken from where the ones before it were."""
        small = _small(rgb)
        if self._reference is not None and self._reference.is_of(small) and self._reference.rests(small):
            return True
        self._reference = _Reference(small)
        return False


class _Reference:
    """An image (h, w) and what is known of its blocks."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image
        gradients = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=0.125)
        self._gradients = _blocks(np.stack(gradients))  # (B, 2, pixels)
        self._gradients -= self._gradients.mean(axis=2, keepdims=True)  # brightness is left out below, too
        moments = self._gradients @ self._gradients.transpose(0, 2, 1)
        is_textured = np.linalg.eigvalsh(moments)[:, 0] >= _LEAST_TEXTURE * _BLOCK**2
        self._textured = np.flatnonzero(is_textured)
        rows, columns = image.shape[0] // _BLOCK, image.shape[1] // _BLOCK
        row, column = np.divmod(self._textured, max(columns, 1))
        self._quarter = 2 * (2 * row >= rows) + (2 * column >= columns)
        self._gradients = self._gradients[self._textured]
        self._moments = moments[self._textured]

    def is_of(self, image: np.ndarray) -> bool:
        """Tell whether an image has the same size."""
        return image.shape == self._image.shape

    def rests(self, image: np.ndarray) -> bool:
        """Tell whether most blocks of an image are where they were."""
        if len(self._textured) < _MIN_BLOCKS:
            return False
        changes = _blocks((image - self._image)[None])[self._textured, 0]
        shifts = np.linalg.solve(self._moments, self._gradients @ changes[:, :, None])[:, :, 0]
        rest = np.linalg.norm(shifts, axis=1) <= _MAX_SHIFT
        quarters = [rest[self._quarter == number] for number in range(4)]
        at_rest = sum(bool(len(part) and part.mean() >= _REST_SHARE) for part in quarters)
        return bool(rest.mean() >= _REST_SHARE) and at_rest >= _REST_QUARTERS


def _small(rgb: np.ndarray) -> np.ndarray:
    """Return a small grey image (h, w) float32."""
    every = max(1, rgb.shape[1] // (4 * _WIDTH))  # a mean over all pixels of a large image takes long
    rgb = np.ascontiguousarray(rgb[::every, ::every])
    height, width = rgb.shape[:2]
    if width > _WIDTH:
        size = (_WIDTH, max(1, round(height * _WIDTH / width)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _blocks(maps: np.ndarray) -> np.ndarray:
    """Cut maps (C, h, w) into whole blocks, shape (B, C, pixels of a block)."""
    channels, rows, columns = len(maps), maps.shape[1] // _BLOCK, maps.shape[2] // _BLOCK
    cut = maps[:, : rows * _BLOCK, : columns * _BLOCK].reshape(channels, rows, _BLOCK, columns, _BLOCK)
    return cut.transpose(1, 3, 0, 2, 4).reshape(rows * columns, channels, _BLOCK**2)
