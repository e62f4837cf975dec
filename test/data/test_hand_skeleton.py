"""The kinematic hand: bones keep their lengths, joints their limits, and the palm faces whom it should."""

from __future__ import annotations

import torch

from pose_estimation_ros.data import hand_skeleton as hand
from pose_estimation_ros.data.hand_skin import cover
from pose_estimation_ros.data.nyu_hand import JOINTS

NAMES = list(JOINTS)
COUNT = 300


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def straight(flexion: float = 0.0) -> hand.Articulations:
    bent = torch.zeros(1, 4, 3)
    bent[..., 0] = flexion
    return hand.Articulations(bent, torch.zeros(1, 4), torch.zeros(1, 4), torch.zeros(1, 2))


def test_bones_have_their_lengths_however_the_hand_bends():
    shapes = hand.sample_shapes(COUNT, generator())
    chains = hand.place_bones(shapes, hand.sample_articulations(COUNT, generator())).chains
    lengths = (chains[:, :, 1:] - chains[:, :, :-1]).norm(dim=3)
    assert torch.allclose(lengths, shapes.bones, atol=1e-6)


def test_angles_stay_within_what_joints_can_do_and_use_most_of_it():
    angles = hand.sample_articulations(2000, generator())
    for values, (low, high) in (
        (angles.flexion[..., 0], hand.KNUCKLE_FLEXION),
        (angles.flexion[..., 1], hand.MIDDLE_FLEXION),
        (angles.spread, hand.SPREAD),
        (angles.thumb[:, 3], hand.THUMB_TIP),
        (angles.wrist[:, 0], hand.WRIST_FLEXION),
    ):
        assert values.min() >= low - 1e-4 and values.max() <= high + 1e-4
        assert values.max() - values.min() > 0.7 * (high - low)


def test_fingers_bend_towards_the_palm():
    shapes = hand.sample_shapes(1, generator(), variation=0.0)
    joints = [hand.place_bones(shapes, straight(angle)).joints[0] for angle in (0.0, 60.0)]
    tips = [NAMES.index(f"{finger} tip") for finger in ("index", "middle", "ring", "pinky")]
    assert (joints[1][tips, 2] > joints[0][tips, 2] + 0.03).all()
    assert torch.allclose(joints[0][NAMES.index("palm")], joints[1][NAMES.index("palm")])


def test_the_thumb_is_on_the_side_of_the_index_finger_and_its_side_of_the_wrist():
    shapes = hand.sample_shapes(1, generator(), variation=0.0)
    x = dict(zip(NAMES, hand.place_bones(shapes, straight()).joints[0, :, 0].tolist(), strict=True))
    assert x["pinky tip"] < x["ring tip"] < x["middle tip"] < x["index tip"] < x["thumb tip"]
    assert x["wrist, pinky side"] < x["palm"] < x["wrist, thumb side"] < x["thumb base"]


def test_without_rotation_the_camera_sees_the_palm_fingers_up():
    zero = torch.zeros(1)
    facing = hand.view_rotations(zero, zero, zero)[0]
    assert torch.allclose(facing @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, -1.0, 0.0]))  # up is -y
    assert torch.allclose(facing @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0]))  # to the camera
    angles = [torch.tensor([value]) for value in (30.0, -20.0, 75.0)]
    rotation = hand.view_rotations(*angles)[0]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-6) and torch.linalg.det(rotation) > 0.99


def test_skin_covers_all_joints_and_is_closed_along_the_bones():
    shapes = hand.sample_shapes(COUNT, generator())
    skeletons = hand.place_bones(shapes, hand.sample_articulations(COUNT, generator()))
    centres, radii = cover(shapes, skeletons)
    inside = ((skeletons.joints[:, :, None] - centres[:, None]).norm(dim=3) < radii[:, None]).any(dim=2)
    assert inside.all()
    middles = 0.5 * (skeletons.chains[:, :, 1:] + skeletons.chains[:, :, :-1]).flatten(1, 2)
    depth = (radii[:, None] - (middles[:, :, None] - centres[:, None]).norm(dim=3)).amax(dim=2)
    thinnest = torch.minimum(shapes.radii[:, :, 1:], shapes.radii[:, :, :-1]).flatten(1)
    assert (depth > 0.4 * thinnest).all()  # between two spheres as well
