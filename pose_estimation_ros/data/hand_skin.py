"""Skin over the bones of a hand: spheres so close to each other that their hull is smooth.

Fingers are spheres moved along bones while their radius changes; palm, web of the thumb and forearm are spheres moved
across sheets between two bones. They need no mesh and no blending, and any articulation keeps the skin closed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.data.hand_skeleton import FLEXED, HandShapes, Skeletons

_FINGER_STEPS, _PALM_STEPS, _FOREARM_STEPS = 8, 14, 16  # spheres along a bone
_PALM_ROOT_RADIUS = 0.0145  # metres, of a hand of scale 1, where the palm meets the wrist
_FOREARM_RADII = (0.0205, 0.030)
_WEB_THINNING = 0.35  # of the skin between thumb and index finger, half way


def cover(shapes: HandShapes, skeletons: Skeletons) -> tuple[Tensor, Tensor]:
    """Return centres (B, N, 3) and radii (B, N) of the spheres that make the skin, metres."""
    size = shapes.scale[:, None]
    chains = skeletons.chains
    wrist = skeletons.forearms[:, :, 0]  # (B, 2, 3)
    parts = [_along(chains, shapes.radii)]
    # Metacarpal bones of the fingers, from the wrist's width to the knuckles.
    share = torch.linspace(0.95, 0.05, FLEXED)[:, None]
    roots = share * wrist[:, None, 0] + (1.0 - share) * wrist[:, None, 1]
    knuckles = chains[:, :FLEXED, 0]
    roots = roots + 0.14 * (knuckles - roots)
    root_radii = (_PALM_ROOT_RADIUS * size).expand(-1, FLEXED)
    ends = torch.stack([roots, knuckles], dim=2)  # (B, 4, 2, 3)
    end_radii = torch.stack([root_radii, shapes.radii[:, :FLEXED, 0]], dim=2)
    for one in range(FLEXED - 1):
        parts.append(_sheet(ends[:, one], ends[:, one + 1], end_radii[:, one], end_radii[:, one + 1], _PALM_STEPS, 5))
    thumb, thumb_radii = chains[:, FLEXED, :2], shapes.radii[:, FLEXED, :2]
    parts.append(_sheet(thumb, ends[:, 0], thumb_radii, end_radii[:, 0], _PALM_STEPS, 6, 0.75, _WEB_THINNING))
    low, high = (value * size for value in _FOREARM_RADII)
    forearm_radii = torch.cat([low, high], dim=1)
    first, second = skeletons.forearms[:, 0], skeletons.forearms[:, 1]
    parts.append(_sheet(first, second, forearm_radii, forearm_radii, _FOREARM_STEPS, 4))
    heel = torch.stack([wrist.flip(1).mean(dim=1), roots.mean(dim=1)], dim=1)
    heel_radii = torch.cat([low, _PALM_ROOT_RADIUS * size], dim=1)
    parts.append(_sheet(heel, ends[:, -1].flip(1)[:, [1, 1]], heel_radii, end_radii[:, -1, [0, 0]], 3, 3))
    return torch.cat([centres for centres, _ in parts], dim=1), torch.cat([radii for _, radii in parts], dim=1)


def _along(chains: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """Move spheres along the bones of chains (B, F, 4, 3)."""
    share = torch.linspace(0.0, 1.0, _FINGER_STEPS)
    centres = torch.lerp(chains[:, :, :-1, None], chains[:, :, 1:, None], share[:, None])
    sizes = torch.lerp(radii[:, :, :-1, None], radii[:, :, 1:, None], share)
    return centres.flatten(1, 3), sizes.flatten(1, 3)


def _sheet(
    one: Tensor,
    other: Tensor,
    one_radii: Tensor,
    other_radii: Tensor,
    along: int,
    across: int,
    reach: float = 1.0,
    thinning: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Move spheres across the sheet between two bones (B, 2, 3), up to a share `reach` of their lengths."""
    share = torch.linspace(0.0, reach, along)[:, None]
    first = torch.lerp(one[:, :1], one[:, 1:], share)[:, :, None]
    second = torch.lerp(other[:, :1], other[:, 1:], share)[:, :, None]
    width = torch.linspace(0.0, 1.0, across)
    centres = torch.lerp(first, second, width[:, None])
    first_radii = torch.lerp(one_radii[:, :1], one_radii[:, 1:], share[:, 0])[..., None]
    second_radii = torch.lerp(other_radii[:, :1], other_radii[:, 1:], share[:, 0])[..., None]
    radii = torch.lerp(first_radii, second_radii, width) * (1.0 - thinning * 4.0 * width * (1.0 - width))
    return centres.flatten(1, 2), radii.flatten(1, 2)
