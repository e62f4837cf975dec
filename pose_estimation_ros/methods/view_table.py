"""A table of an object's rendered views as features, in which what is seen in a box is looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.comparison import warped
from pose_estimation_ros.data.pyramid import Pyramid
from pose_estimation_ros.geometry.transfer import constant, to_device
from pose_estimation_ros.geometry.virtual_camera import VirtualCameras, filling_intrinsics, rotation_between
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

SIZE = 96  # side of the views, pixels
PADDING = 1.2  # side of the views over the longer side of the box
GREY = 0.45  # behind the object
_BATCH = 64  # views rendered and encoded at a time
_SAMPLES = 96  # views that the principal components are found from
_MIN_COVERED = 0.3  # of a cell by the object, for the cell to count
_NOTHING = 1e-6
_BYTES = 2  # of a number in the table

Encode = Callable[[Tensor], Tensor]  # images (B, 3, SIZE, SIZE) to maps (B, C, h, w)


@dataclass(frozen=True)
class View:
    """A rotation and its rendering's box, for rendering it so that the box is in the centre."""

    rotation: Tensor  # (V, 3, 3) camera from object
    translation: Tensor  # (V, 3) metres
    intrinsics: Tensor  # (V, 3, 3)
    log_aspect: Tensor  # (V,) logarithm of width over height of the box


@dataclass(frozen=True)
class FeatureSpace:
    """In what space features are compared: principal components, each channel with the variance of one."""

    mean: Tensor  # (C,)
    basis: Tensor  # (C, K)

    @classmethod
    def whole(cls, channels: int, device: torch.device) -> FeatureSpace:
        """Return the space of features that are directions already."""
        return cls(torch.zeros(channels, device=device), torch.eye(channels, device=device))

    def directions(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, h, w) as unit vectors (B, K, h, w) of the space."""
        centred = maps.float() - self.mean[None, :, None, None]
        return F.normalize(torch.einsum("bchw,ck->bkhw", centred, self.basis), dim=1)


@dataclass(frozen=True)
class ViewTable:
    """V views of one object."""

    rotation: Tensor  # (V, 3, 3) of cameras that look at the object
    log_aspect: Tensor  # (V,) logarithm of width over height of their boxes
    features: Tensor  # (V, K * h * w) float16, unit vectors times the cells' shares of the view
    space: FeatureSpace

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        tensors = (self.rotation, self.log_aspect, self.features, self.space.mean, self.space.basis)
        return sum(item.numel() * item.element_size() for item in tensors)

    def similarity(self, maps: Tensor, log_aspect: Tensor, aspect_weight: float) -> Tensor:
        """Return how like the views are to what is in boxes (B, V).

        It is the mean cosine of features over the cells that show the object, less what boxes of another shape lose.

        Args:
            maps: features of the boxes (B, C, h, w).
            log_aspect: logarithm of width over height of the boxes (B,).
            aspect_weight: lost for a difference of these logarithms of one.
        """
        seen = self.space.directions(maps).flatten(1)
        cosine = torch.cat([seen @ part.float().T for part in self.features.split(512)], dim=1)
        return cosine - aspect_weight * (log_aspect[:, None] - self.log_aspect).abs()


def build_table(
    caster: RayCaster,
    index: int,
    centre: Tensor,
    outline: Tensor,
    rotation: Tensor,
    distance_m: float,
    encode: Encode,
    space: FeatureSpace | int,
) -> ViewTable:
    """Render an object from all sides and encode what is seen.

    Args:
        caster: has the object's mesh.
        index: which of its meshes that is.
        centre: of the object (3,), metres.
        outline: points on its surface (P, 3), metres.
        rotation: camera from object (V, 3, 3).
        distance_m: of the object, metres.
        encode: the features.
        space: of the features, where tables of several objects are to be compared; or how many principal components
            of the object's own are kept, no more than there are.
    """
    view = framed(rotation, centre, outline, distance_m)
    few = torch.linspace(0, len(rotation) - 1, min(_SAMPLES, len(rotation)), device=rotation.device).long().unique()
    if isinstance(space, int):
        samples = _encoded(caster, index, view, few, encode)
        shown = [maps.float().permute(0, 2, 3, 1)[covered > 0.5] for maps, covered in samples]
        space = principal_components(torch.cat(shown), space)
    everything = torch.arange(len(rotation), device=rotation.device)
    rows = []
    for maps, covered in _encoded(caster, index, view, everything, encode):
        rows.append((space.directions(maps) * shares(covered)[:, None]).flatten(1).half())
    return ViewTable(rotation, view.log_aspect, torch.cat(rows), space)


def table_bytes(encode: Encode, views: int, space: FeatureSpace | int, device: torch.device) -> int:
    """Return how much memory the features of a table take.

    Args:
        encode: the features.
        views: of the object.
        space: of the features, or how many principal components are kept; no more than there are.
        device: of the features.
    """
    found, height, width = encode(torch.zeros(1, 3, SIZE, SIZE, device=device)).shape[1:]
    channels = space if isinstance(space, int) else space.basis.shape[1]
    return views * min(channels, found) * height * width * _BYTES


def framed(rotation: Tensor, centre: Tensor, outline: Tensor, distance_m: float) -> View:
    """Return how views (V, 3, 3) are rendered so that the box of the object fills them but for the padding."""
    translation = -(rotation @ centre)
    translation[:, 2] += distance_m
    points = outline @ rotation.transpose(1, 2) + translation[:, None]
    pixels = points[..., :2] / points[..., 2:].clamp(min=1e-3)
    low, high = pixels.amin(dim=1), pixels.amax(dim=1)
    side = (high - low).clamp(min=_NOTHING)
    intrinsics = torch.zeros_like(rotation)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = SIZE / (PADDING * side.amax(dim=1))
    intrinsics[:, :2, 2] = (SIZE - 1) / 2.0 - (low + high) / 2.0 * intrinsics[:, :1, 0]
    intrinsics[:, 2, 2] = 1.0
    return View(rotation, translation, intrinsics, (side[:, 0] / side[:, 1]).log())


def _encoded(
    caster: RayCaster, index: int, view: View, rows: Tensor, encode: Encode
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield maps (B, C, h, w) of views and how much of their cells the object covers (B, h, w)."""
    for some in rows.split(_BATCH):
        poses = torch.eye(4, device=rows.device).repeat(len(some), 1, 1)
        poses[:, :3, :3], poses[:, :3, 3] = view.rotation[some], view.translation[some]
        renders = caster.render(torch.full_like(some, index), poses, view.intrinsics[some], SIZE, SIZE)
        mask = renders.mask[:, None].float().to(rows.device)
        color = headlight(renders.colors.to(rows.device), renders.normals.to(rows.device)[:, 2:]) * mask
        maps = encode(on_grey(color, mask))
        covered = F.adaptive_avg_pool2d(mask, (maps.shape[2], maps.shape[3]))[:, 0]
        yield maps, torch.where(covered > _MIN_COVERED, covered, 0.0)


def on_grey(color: Tensor, mask: Tensor) -> Tensor:
    """Return renderings (B, 3, S, S), black where the mask (B, 1, S, S) is zero, before the grey of all tables."""
    return color + GREY * (1.0 - mask)


def shares(covered: Tensor) -> Tensor:
    """Return what cells hold of objects that cover shares of them (B, h, w); cells that show little hold nothing."""
    counted = torch.where(covered > _MIN_COVERED, covered, 0.0)
    return counted / counted.sum(dim=(1, 2), keepdim=True).clamp(min=_NOTHING)


def principal_components(cells: Tensor, channels: int) -> FeatureSpace:
    """Find the principal components of features (N, C); where there are none, of nothing."""
    if len(cells) < 2:
        cells = cells.new_zeros(2, cells.shape[1])
    mean, deviation = cells.mean(dim=0), cells.std(dim=0).clamp(min=_NOTHING)
    normal = (cells - mean) / deviation
    _, vectors = torch.linalg.eigh((normal.T @ normal / len(normal)).double())  # ascending
    kept = vectors[:, -min(channels, vectors.shape[1]) :].float()
    return FeatureSpace(mean, kept / deviation[:, None])


@dataclass(frozen=True)
class BoxView:
    """What cameras see that are turned to boxes and filled by them, as the views of a table are."""

    images: Tensor  # (B, C, SIZE, SIZE)
    virtual_from_camera: Tensor  # (B, 3, 3)
    log_aspect: Tensor  # (B,)


def look_at_boxes(image: Tensor | Pyramid, intrinsics: Tensor, boxes: np.ndarray) -> BoxView:
    """Turn a camera to each box.

    Args:
        image: (C, H, W) in [0, 1], or its pyramid.
        intrinsics: (3, 3).
        boxes: x0 y0 x1 y1 in pixels (B, 4).
    """
    corners = to_device(np.asarray(boxes, dtype=np.float32), intrinsics.device).to(intrinsics.dtype)
    centre, half = (corners[:, :2] + corners[:, 2:]) / 2.0, ((corners[:, 2:] - corners[:, :2]) / 2.0).clamp(min=0.5)
    sides = constant((0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, -1.0, 0.0, 1.0), half).view(5, 2)
    pixels = centre[:, None] + sides * half[:, None]
    rays = F.pad(pixels, (0, 1), value=1.0) @ torch.linalg.inv_ex(intrinsics).inverse.T
    turn = rotation_between(rays[:, 0], constant((0.0, 0.0, 1.0), rays).expand(len(rays), 3))
    seen = rays[:, 1:] @ turn.transpose(1, 2)
    cameras = VirtualCameras(turn, filling_intrinsics(seen, SIZE, PADDING), SIZE)
    flat = seen[..., :2] / seen[..., 2:]
    extent = torch.stack([(flat[:, 1] - flat[:, 0]).norm(dim=1), (flat[:, 3] - flat[:, 2]).norm(dim=1)], dim=1)
    images = warped(image, cameras.image_from_virtual(intrinsics), SIZE)
    return BoxView(images, turn, (extent[:, 0] / extent[:, 1]).log())
