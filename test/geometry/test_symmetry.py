"""Symmetries: groups of known size, invariance under every member, offsets of the axis."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.symmetry import (
    canonicalise,
    rotation_about,
    symmetric_distance,
    symmetry_transforms,
)

SEEDS = st.integers(0, 2**31 - 1)
Z_AXIS = ((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


def _random_pose(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed % 2**31).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).uniform([-0.2, -0.2, 0.4], [0.2, 0.2, 1.5])
    return pose


def _cube_rotations() -> list[np.ndarray]:
    transforms = []
    for matrix in Rotation.create_group("O").as_matrix():
        transform = np.eye(4)
        transform[:3, :3] = np.round(matrix)
        if not np.allclose(transform, np.eye(4)):
            transforms.append(transform)
    return transforms


def test_no_symmetry_is_the_identity_alone():
    np.testing.assert_array_equal(symmetry_transforms(), np.eye(4)[None])


def test_bop_step_gives_315_rotations_about_an_offset_axis():
    point = np.array([0.01, -0.02, 0.0])
    transforms = symmetry_transforms(continuous=[((0, 0, 2), point)], step_rad=0.01)
    assert len(transforms) == 315
    on_axis = np.append(point + np.array([0, 0, 0.05]), 1.0)
    np.testing.assert_allclose(transforms @ on_axis, np.tile(on_axis, (315, 1)), atol=1e-12)
    # Each turns by the same angle from the one before, and the last turns on to the first.
    steps = transforms[1:, :3, :3] @ transforms[:-1, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose((np.trace(steps, axis1=1, axis2=2) - 1) / 2, math.cos(2 * math.pi / 315), atol=1e-12)


def test_combinations_hold_every_product_once():
    flip = rotation_about((1, 0, 0), (0, 0, 0), math.pi)
    assert len(symmetry_transforms([flip], [Z_AXIS], step_rad=math.pi / 8)) == 16
    half_turn = rotation_about((0, 0, 1), (0, 0, 0), math.pi)  # already among the continuous ones
    assert len(symmetry_transforms([half_turn], [Z_AXIS], step_rad=math.pi / 8)) == 8
    assert len(symmetry_transforms([], [Z_AXIS], step_rad=math.pi)) == 1
    np.testing.assert_array_equal(symmetry_transforms([flip], [Z_AXIS], 0.3)[0], np.eye(4))


@given(seed=SEEDS, member=st.integers(0, 23))
@settings(max_examples=60, deadline=None)
def test_canonical_pose_does_not_depend_on_the_member_of_the_group(seed, member):
    transforms = symmetry_transforms(_cube_rotations())
    assert len(transforms) == 24
    pose = _random_pose(seed)
    canonical = canonicalise(pose, transforms)
    np.testing.assert_allclose(canonicalise(pose @ transforms[member], transforms), canonical, atol=1e-9)
    np.testing.assert_allclose(canonicalise(canonical, transforms), canonical, atol=1e-12)


@given(seed=SEEDS, member=st.integers(0, 23))
@settings(max_examples=60, deadline=None)
def test_distance_is_symmetric_and_blind_to_the_group(seed, member):
    transforms = symmetry_transforms(_cube_rotations())
    pose_a, pose_b = _random_pose(seed), _random_pose(seed + 1)
    assert symmetric_distance(pose_a, pose_a @ transforms[member], transforms) == pytest.approx((0, 0), abs=1e-9)
    angle, metres = symmetric_distance(pose_a, pose_b, transforms)
    assert symmetric_distance(pose_b, pose_a, transforms) == pytest.approx((angle, metres), abs=1e-9)
    assert symmetric_distance(pose_a @ transforms[member], pose_b, transforms) == pytest.approx(
        (angle, metres), abs=1e-9
    )
    assert angle <= math.radians(62.8) + 1e-9  # the largest misorientation of cubes


def test_canonicalise_takes_the_equivalent_nearest_to_the_reference():
    transforms = symmetry_transforms([rotation_about((0, 0, 1), (0, 0, 0), math.pi)])
    reference = _random_pose(3)
    flipped = reference @ rotation_about((0, 0, 1), (0, 0, 0), math.pi + 0.1)
    nearest = canonicalise(flipped, transforms, reference)
    np.testing.assert_allclose(nearest, reference @ rotation_about((0, 0, 1), (0, 0, 0), 0.1), atol=1e-12)


def test_off_centre_symmetry_moves_the_origin_with_it():
    """A half turn about an axis beside the origin: same look, other origin, no distance."""
    flip = rotation_about((0, 0, 1), (0.05, 0, 0), math.pi)
    pose = _random_pose(5)
    assert np.linalg.norm((pose @ flip)[:3, 3] - pose[:3, 3]) == pytest.approx(0.1)
    assert symmetric_distance(pose, pose @ flip, symmetry_transforms([flip])) == pytest.approx((0, 0), abs=1e-12)


def test_distance_without_symmetry_is_angle_and_length():
    pose = _random_pose(7)
    other = pose @ rotation_about((0.3, 0.2, 0.5), (0, 0, 0), 3.0)
    other[:3, 3] += [0.0, 0.03, 0.04]
    assert symmetric_distance(pose, other, symmetry_transforms()) == pytest.approx((3.0, 0.05))


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="step_rad"):
        symmetry_transforms(continuous=[Z_AXIS], step_rad=0.0)
    with pytest.raises(ValueError, match="axis"):
        symmetry_transforms(continuous=[((0, 0, 0), (0, 0, 0))])
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        symmetry_transforms([np.eye(3)])
