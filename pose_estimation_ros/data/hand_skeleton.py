"""A kinematic model of right hands: proportions, angles within anatomical limits, and where bones and joints are then.

The hand's frame has its origin between the wrist's two joints: x to the thumb's side, y along the straight fingers, z
out of the palm. Sizes are those of a large man's hand; `sample_shapes` makes others of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pose_estimation_ros.data.nyu_hand import PALM

FINGERS = ("index", "middle", "ring", "pinky", "thumb")
FLEXED = 4  # fingers that bend about one axis; the thumb, last, has its own

_MM = 1e-3
_KNUCKLES = torch.tensor([[27.0, 112.0, 0.0], [7.0, 115.0, -3.0], [-13.0, 108.0, -2.0], [-31.0, 96.0, 3.0]]) * _MM
_THUMB_ROOT = torch.tensor([20.0, 22.0, 7.0]) * _MM
# Proximal, middle and distal phalanx; of the thumb metacarpal bone, proximal and distal phalanx. They end inside the
# skin, where the tip's joint is.
_BONES = (
    torch.tensor([[45.0, 27.0, 23.0], [49.0, 31.0, 25.0], [45.0, 29.0, 24.0], [36.0, 21.0, 22.0], [54.0, 42.0, 26.0]])
    * _MM
)
_RADII = (  # of the skin about the four ends of these bones
    torch.tensor(
        [
            [12.5, 10.0, 8.7, 7.3],
            [12.5, 10.3, 8.9, 7.5],
            [12.0, 9.7, 8.4, 7.1],
            [11.0, 8.4, 7.4, 6.3],
            [15.5, 13.0, 10.6, 8.4],
        ]
    )
    * _MM
)
_PALM = torch.tensor([0.0, 79.0, 0.0]) * _MM
_WRIST_HALF_WIDTH = 17.5 * _MM
_FOREARM_M = 0.2  # from the wrist on
_SPLAY = torch.tensor([5.0, 0.0, -6.0, -13.0])  # degrees, of relaxed straight fingers about z, to the thumb's side
_THUMB_AXIS = torch.tensor([0.66, 0.59, 0.47])  # of its metacarpal bone at rest
_THUMB_BENDS_TO = torch.tensor([-0.90, 0.35, 0.25])

# Degrees, (least, most): active ranges of motion of healthy hands, rounded.
KNUCKLE_FLEXION = (-20.0, 90.0)
MIDDLE_FLEXION = (0.0, 105.0)
SPREAD = (-15.0, 15.0)  # of straight fingers; bent ones have less
THUMB_ABDUCTION, THUMB_OPPOSITION = (-25.0, 25.0), (-20.0, 40.0)
THUMB_KNUCKLE, THUMB_TIP = (-5.0, 55.0), (-15.0, 80.0)
WRIST_FLEXION, WRIST_DEVIATION = (-50.0, 50.0), (-25.0, 25.0)
_DISTAL_SHARE = 0.6  # of the middle joint's flexion: the tendon bends both


@dataclass(frozen=True)
class HandShapes:
    """Proportions of B hands, metres."""

    scale: Tensor  # (B,) of the whole hand
    knuckles: Tensor  # (B, 4, 3) of the fingers without the thumb
    thumb_root: Tensor  # (B, 3)
    bones: Tensor  # (B, 5, 3) lengths
    radii: Tensor  # (B, 5, 4) of the skin about their ends

    def __len__(self) -> int:
        return len(self.scale)

    def chosen(self, numbers: Tensor) -> HandShapes:
        """Return some of them, by their numbers (N,)."""
        return HandShapes(**{name: value[numbers] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Articulations:
    """Angles of the joints of B hands, degrees."""

    flexion: Tensor  # (B, 4, 3) of knuckle, middle and last joint
    spread: Tensor  # (B, 4) to the thumb's side
    thumb: Tensor  # (B, 4) abduction, opposition, knuckle, last joint
    wrist: Tensor  # (B, 2) flexion and deviation of the forearm


@dataclass(frozen=True)
class Skeletons:
    """Where bones and joints of B hands are, in the frame of the hand or of a camera."""

    chains: Tensor  # (B, 5, 4, 3) ends of the bones of every finger, root first
    forearms: Tensor  # (B, 2, 2, 3) its two edges, thumb's side first, each from the wrist to its end
    joints: Tensor  # (B, 14, 3) as `nyu_hand.JOINTS` has them

    def chosen(self, numbers: Tensor) -> Skeletons:
        """Return some of them, by their numbers (N,)."""
        return Skeletons(self.chains[numbers], self.forearms[numbers], self.joints[numbers])

    def moved(self, rotation: Tensor, translation: Tensor) -> Skeletons:
        """Return them under rigid transforms: rotations (B, 3, 3), translations (B, 3)."""

        def move(points: Tensor) -> Tensor:
            flat = points.flatten(1, -2) @ rotation.transpose(1, 2) + translation[:, None]
            return flat.view_as(points)

        return Skeletons(move(self.chains), move(self.forearms), move(self.joints))

    def with_palms_at(self, rotation: Tensor, places: Tensor) -> Skeletons:
        """Return them turned by rotations (B, 3, 3), their palms at places (B, 3)."""
        turned = (rotation @ self.joints[:, PALM, :, None])[..., 0]
        return self.moved(rotation, places - turned)


def sample_shapes(
    count: int, generator: torch.Generator, scale: tuple[float, float] = (0.78, 1.08), variation: float = 0.05
) -> HandShapes:
    """Draw proportions of hands.

    Args:
        count: how many.
        generator: of random numbers.
        scale: least and most of the whole hand.
        variation: standard deviation of every length and width relative to it.
    """

    def vary(*shape: int) -> Tensor:
        return 1.0 + variation * torch.randn(count, *shape, generator=generator).clamp(-2.5, 2.5)

    size = _between(torch.rand(count, generator=generator), scale)
    palm = torch.stack([vary(), vary()], dim=1)
    bones = vary(1, 1) * vary(5, 1) * vary(5, 3)
    return make_shapes(size, palm, bones, (0.92 + 1.6 * (vary(1, 1) - 1.0)) * vary(5, 1))


def make_shapes(scale: Tensor, palm: Tensor, bones: Tensor, radii: Tensor) -> HandShapes:
    """Return the proportions of B hands.

    Args:
        scale: of the whole hands, shape (B,).
        palm: width and length of the palm relative to the model's, beside the scale, shape (B, 2).
        bones: lengths of the fingers' bones, the same way, broadcast to (B, 5, 3).
        radii: of their skin, the same way, broadcast to (B, 5, 4).
    """
    stretch = torch.cat([palm, torch.ones_like(palm[:, :1])], dim=1)
    size = scale[:, None, None]
    knuckles, root = _KNUCKLES * stretch[:, None] * size, _THUMB_ROOT * stretch * size[:, 0]
    return HandShapes(scale, knuckles, root, _BONES * bones * size, _RADII * radii * size)


def sample_articulations(count: int, generator: torch.Generator) -> Articulations:
    """Draw angles: fingers that are open or bent together, or each as it likes, and everything between."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    alone = uniform(1, 1) ** 1.5  # how much every finger does as it likes
    bent = (1.0 - alone) * uniform(1, 2) + alone * uniform(FLEXED, 2)  # of the joint's range, at knuckle and middle
    bent = bent * (uniform(1, 1) ** 0.5)  # open hands are more frequent
    knuckle = _between(0.1 + 0.9 * bent[..., 0], KNUCKLE_FLEXION)
    middle = _between(bent[..., 1], MIDDLE_FLEXION)
    last = last_flexion(middle, 8.0 * torch.randn(count, FLEXED, generator=generator))
    freedom = 1.0 - 0.8 * (knuckle / KNUCKLE_FLEXION[1]).clamp(0.0, 1.0)
    together = 2.0 * uniform(1) - 1.0
    fan = together * torch.tensor([0.8, 0.1, -0.5, -1.0])
    spread = freedom * (SPREAD[1] * 0.7 * fan + 0.3 * _between(uniform(FLEXED), SPREAD))
    thumb = [_between(uniform(), limits) for limits in (THUMB_ABDUCTION, THUMB_OPPOSITION, THUMB_KNUCKLE, THUMB_TIP)]
    wrist = [
        limits[1] * (0.45 * torch.randn(count, generator=generator)).clamp(-1.0, 1.0)
        for limits in (WRIST_FLEXION, WRIST_DEVIATION)
    ]
    return Articulations(
        torch.stack([knuckle, middle, last], dim=2), spread, torch.stack(thumb, dim=1), torch.stack(wrist, dim=1)
    )


def last_flexion(middle: Tensor, deviation: Tensor | float = 0.0) -> Tensor:
    """Return the flexion of last joints, degrees, which a tendon bends with the middle ones."""
    return (_DISTAL_SHARE * middle + deviation).clamp(-5.0, 80.0)


def place_bones(shapes: HandShapes, angles: Articulations) -> Skeletons:
    """Find bones and joints in the frames of the hands (forward kinematics).

    Args:
        shapes: proportions of B hands.
        angles: of the same hands.
    """
    fingers = _finger_chains(shapes, angles)
    thumb = _thumb_chain(shapes, angles)
    chains = torch.cat([fingers, thumb[:, None]], dim=1)
    size = shapes.scale[:, None]
    side = torch.tensor([_WRIST_HALF_WIDTH, 0.0, 0.0])
    zero = torch.zeros(len(shapes))
    palm = torch.stack([zero, _PALM[1] / _KNUCKLES[1, 1] * shapes.knuckles[:, 1, 1], zero], dim=1)
    wrist = torch.stack([size * side, -size * side], dim=1)  # thumb's side first
    joints = []
    for finger in (3, 2, 1, 0):  # pinky first: tip, middle joint
        joints += [chains[:, finger, 3], chains[:, finger, 1]]
    joints += [thumb[:, 3], thumb[:, 2], thumb[:, 1], wrist[:, 1], wrist[:, 0], palm]
    forearms = torch.stack([wrist, wrist * 1.35 + _FOREARM_M * _forearm_axis(angles)[:, None]], dim=2)
    return Skeletons(chains, forearms, torch.stack(joints, dim=1))


def _finger_chains(shapes: HandShapes, angles: Articulations) -> Tensor:
    """Return the ends of the bones (B, 4, 4, 3) of all fingers but the thumb."""
    bend = torch.deg2rad(angles.flexion.cumsum(dim=2))
    turn = torch.deg2rad(_SPLAY + angles.spread)[..., None]
    ahead = bend.cos()
    steps = torch.stack([turn.sin() * ahead, turn.cos() * ahead, bend.sin()], dim=3)
    return _chain(shapes.knuckles, steps, shapes.bones[:, :FLEXED])


def _thumb_chain(shapes: HandShapes, angles: Articulations) -> Tensor:
    """Return the ends of the thumb's bones (B, 4, 3)."""
    abduction, opposition, knuckle, tip = torch.deg2rad(angles.thumb).unbind(dim=1)
    rest = _unit(_THUMB_AXIS).expand(len(shapes), 3)
    across = _unit(torch.linalg.cross(rest, _unit(_THUMB_BENDS_TO).expand_as(rest)))
    inwards = torch.linalg.cross(across, rest)
    axis = opposition.cos()[:, None] * rest + opposition.sin()[:, None] * inwards
    axis = abduction.cos()[:, None] * axis + abduction.sin()[:, None] * across
    inwards = _unit(inwards - (inwards * axis).sum(dim=1, keepdim=True) * axis)
    bend = torch.stack([torch.zeros_like(knuckle), knuckle, knuckle + tip], dim=1)[..., None]
    steps = bend.cos() * axis[:, None] + bend.sin() * inwards[:, None]
    return _chain(shapes.thumb_root[:, None], steps[:, None], shapes.bones[:, FLEXED:])[:, 0]


def _chain(roots: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
    """Join bones (B, F, 3, 3) of lengths (B, F, 3) to roots (B, F, 3); return all ends (B, F, 4, 3)."""
    return torch.cat([roots[:, :, None], roots[:, :, None] + (steps * lengths[..., None]).cumsum(dim=2)], dim=2)


def _forearm_axis(angles: Articulations) -> Tensor:
    flexion, deviation = torch.deg2rad(angles.wrist).unbind(dim=1)
    return torch.stack([deviation.sin(), -deviation.cos() * flexion.cos(), deviation.cos() * flexion.sin()], dim=1)


def view_rotations(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) from the hand to the camera; angles (B,) in degrees.

    With all angles zero the camera sees the palm, fingers up. The hand turns about its length by `yaw`, leans by
    `pitch` and turns in the image by `roll`.
    """
    zero, one = torch.zeros_like(roll), torch.ones_like(roll)

    def about(axis: int, degrees: Tensor) -> Tensor:
        cos, sin = torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()
        rows = {
            0: [one, zero, zero, zero, cos, -sin, zero, sin, cos],
            1: [cos, zero, sin, zero, one, zero, -sin, zero, cos],
            2: [cos, -sin, zero, sin, cos, zero, zero, zero, one],
        }[axis]
        return torch.stack(rows, dim=1).view(-1, 3, 3)

    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return about(2, roll) @ about(0, pitch) @ about(1, yaw) @ facing


def _between(share: Tensor, limits: tuple[float, float]) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)
