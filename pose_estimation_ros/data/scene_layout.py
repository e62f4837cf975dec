"""Where the objects of a training scene are: scattered, in a heap, or upright on a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_estimation_ros.data.augmentation import uniform
from pose_estimation_ros.data.view_bank import ViewBank

ELEVATION_TOLERANCE = math.radians(6.0)  # of a stored view that stands for an object on the table
HELD_SHARE = 0.15  # of things on a table that lie on others


@dataclass(frozen=True)
class Layout:
    """N things in one image."""

    view: Tensor  # (N,) into the bank
    centre: Tensor  # (N, 2) projections of the boxes' centres, pixels
    distance: Tensor  # (N,) metres
    roll: Tensor  # (N,) radians by which the upright view is turned in the image
    table: Table | None = None  # what they stand on


@dataclass(frozen=True)
class Table:
    """A rectangle of the plane that objects stand on."""

    ground_from_image: Tensor  # (3, 3) homography from pixels to metres on the plane
    half_size: Tensor  # (2,) metres
    angle: Tensor  # of its first axis, radians
    middle: Tensor  # (2,) metres


def scattered(
    view: Tensor,
    size: tuple[int, int],
    distance_m: tuple[float, float],
    roll_deg: tuple[float, float],
    crowded: bool,
    generator: torch.Generator,
) -> Layout:
    """Put views anywhere in an image, or close together, at about the same distance.

    Args:
        view: which views of the bank, (N,).
        size: width and height of the image, pixels.
        distance_m: range of distances.
        roll_deg: range of in-plane rotations.
        crowded: whether they stand close together.
        generator: source of randomness.
    """
    count, (near, far) = len(view), distance_m
    typical = uniform(near, far, (1,), generator)
    distance = (typical * torch.exp(uniform(-0.2, 0.2, (count,), generator))).clamp(near, far)
    if crowded:
        anchor = uniform(0.3, 0.7, (1, 2), generator)
        spread = uniform(0.08, 0.25, (1, 1), generator)
        place = anchor + spread * torch.randn(count, 2, generator=generator, device=view.device)
    else:
        place = uniform(0.0, 1.0, (count, 2), generator)
    centre = place.clamp(0.0, 1.0) * torch.tensor(size, device=view.device, dtype=torch.float32)
    return Layout(view, centre, distance, torch.deg2rad(uniform(*roll_deg, (count,), generator)))


class TableLayouts:
    """Puts objects upright on a plane, seen by a camera that looks at it.

    Every known object is shown by a stored view from about the elevation under which the camera sees it there.

    Args:
        bank: the views.
    """

    def __init__(self, bank: ViewBank) -> None:
        # A stored view looks along its z at the middle of the object.
        self.elevation = torch.asin(-bank.camera_from_object[:, 2, 2].clamp(-1.0, 1.0))  # (V,) radians
        self.bank = bank
        extent = bank.outline.amax(dim=1) - bank.outline.amin(dim=1)
        self._half_height = extent[:, 2] / 2.0  # (M,) metres
        known = bank.object_index < bank.known
        self._sorted = []
        for index in range(bank.known):
            views = (known & (bank.object_index == index)).nonzero()[:, 0]
            order = torch.argsort(self.elevation[views])
            self._sorted.append((views[order], self.elevation[views[order]]))

    def place(
        self,
        view: Tensor,
        focal_px: float,
        size: tuple[int, int],
        distance_m: tuple[float, float],
        roll_deg: tuple[float, float],
        elevation: tuple[float, float],
        generator: torch.Generator,
    ) -> Layout:
        """Put views on a table; those of known objects are exchanged for fitting ones of the same object.

        Args:
            view: which views, (N,); clutter is kept as it is.
            focal_px: of the camera.
            size: width and height of the image, pixels.
            distance_m: range of distances from the camera to the middle of the objects.
            roll_deg: range of in-plane rotations of the camera.
            elevation: range of the camera's elevation above the plane, radians.
            generator: source of randomness.
        """
        bank, count, device = self.bank, len(view), view.device
        near, far = distance_m
        distance = float(uniform(near, far, (1,), generator))
        angle = float(uniform(*elevation, (1,), generator))
        roll = math.radians(float(uniform(*roll_deg, (1,), generator)))
        camera = _Camera(focal_px, size, distance, angle, roll, uniform(-0.15, 0.15, (2,), generator))
        # As wide as the objects need, so that they hide each other about as much however many they are.
        spread = min(float(uniform(0.035, 0.07, (1,), generator)) * math.sqrt(count), 0.3 * distance)
        ground = spread * torch.randn(count, 2, generator=generator, device=device)
        height = self._half_height[bank.mesh_index[view]]
        held = uniform(0.0, 1.0, (count,), generator) < HELD_SHARE
        height = height + held * uniform(0.03, 0.12, (count,), generator)
        points = torch.cat([ground, height[:, None]], dim=1)
        chosen = view.clone()
        eye = camera.eye.to(device)
        slant = torch.asin(((eye - points)[:, 2] / (eye - points).norm(dim=1)).clamp(-1.0, 1.0))
        luck = uniform(0.0, 1.0, (count,), generator)
        for number, index in enumerate(bank.object_index[view].tolist()):
            if index < bank.known:
                chosen[number] = self._nearest(index, float(slant[number]), float(luck[number]))
        centre, depth = camera.project(points)
        above = camera.project(points + torch.tensor([0.0, 0.0, 0.01], device=device))[0] - centre
        upright = torch.atan2(above[:, 0], -above[:, 1])
        foreign = bank.object_index[view] >= bank.known
        upright = torch.where(foreign, uniform(-math.pi, math.pi, (count,), generator), upright)
        half = uniform(0.15, 0.8, (2,), generator).to(device)
        table = Table(
            camera.ground_from_image().to(device),
            half,
            uniform(0.0, 2.0 * math.pi, (1,), generator),
            0.3 * half * torch.randn(2, generator=generator, device=device),
        )
        return Layout(chosen, centre, depth.clamp(min=0.5 * near), upright, table)

    def _nearest(self, index: int, elevation: float, luck: float) -> int:
        """Return a view of an object from about an elevation."""
        views, elevations = self._sorted[index]
        limits = torch.tensor([elevation - ELEVATION_TOLERANCE, elevation + ELEVATION_TOLERANCE])
        low, high = torch.searchsorted(elevations, limits.to(elevations)).tolist()
        if low >= high:
            return int(views[min(low, len(views) - 1)])
        return int(views[low + int(luck * (high - low))])


class _Camera:
    """A pinhole camera that looks at a plane through the origin, x to the right and z up."""

    def __init__(
        self, focal_px: float, size: tuple[int, int], distance: float, elevation: float, roll: float, shift: Tensor
    ) -> None:
        sine, cosine = math.sin(elevation), math.cos(elevation)
        self.eye = torch.tensor([0.0, -distance * cosine, distance * sine])
        right, down, forward = [1.0, 0.0, 0.0], [0.0, -sine, -cosine], [0.0, cosine, -sine]
        turn = torch.tensor(
            [[math.cos(roll), -math.sin(roll), 0.0], [math.sin(roll), math.cos(roll), 0.0], [0.0, 0.0, 1.0]]
        )
        self.rotation = turn @ torch.tensor([right, down, forward])
        width, height = size
        middle = (0.5 + shift.cpu()) * torch.tensor([float(width), float(height)])
        self.matrix = torch.tensor([[focal_px, 0.0, float(middle[0])], [0.0, focal_px, float(middle[1])], [0, 0, 1.0]])

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels (N, 2) and depths (N,) of points (N, 3)."""
        rotation, matrix = self.rotation.to(points), self.matrix.to(points)
        seen = (points - self.eye.to(points)) @ rotation.T
        pixels = seen @ matrix.T
        return pixels[:, :2] / pixels[:, 2:].clamp(min=1e-3), seen[:, 2]

    def ground_from_image(self) -> Tensor:
        """Return the homography (3, 3) from pixels to the plane z = 0."""
        shift = -self.rotation @ self.eye
        return torch.linalg.inv(self.matrix @ torch.stack([self.rotation[:, 0], self.rotation[:, 1], shift], dim=1))
