"""Boxes that end where the object ends say where it is, if its rotation is more or less known."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.box_prior import BoxUncertainty, translation_prior_from_box
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pnp import PnpResult
from pose_estimation_ros.geometry.pose_refinement import TranslationPrior
from pose_estimation_ros.settings import Settings, setting

_ROUNDS = 2  # the box places the object as the first pose turned it, then as the second did


class BoxPriorSettings(Settings):
    """How far boxes are trusted to place the object."""

    enabled: bool = setting(True, "Let boxes that end where the object ends place the object.")
    centre_sigma: float = setting(0.03, "Standard deviation of their centres, in sides of the box.", gt=0.0)
    log_size_sigma: float = setting(0.03, "Standard deviation of the logarithm of their size.", gt=0.0)

    def uncertainty(self, redundancy: float) -> BoxUncertainty:
        """Return how exact boxes are, beside correspondences of which so many err together."""
        return BoxUncertainty(self.centre_sigma, self.log_size_sigma, redundancy)


class Refit(Protocol):
    """Solves the same correspondences once more, from a pose."""

    def __call__(
        self, *, initial: np.ndarray, translation_prior: TranslationPrior, iterations: int
    ) -> PnpResult | None:
        """Refine a pose (4, 4), see `solve_pnp`."""


def refit_in_box(
    result: PnpResult,
    solve: Refit,
    detection: Detection,
    outline: np.ndarray,
    camera: Camera,
    uncertainty: BoxUncertainty,
) -> PnpResult:
    """Let a detection's box place the object whose pose is known from correspondences.

    Args:
        result: of the correspondences alone.
        solve: the same problem, with a translation prior in addition.
        detection: whose box counts if it ends where the object ends.
        outline: points (P, 3) on the object that reach farthest in all directions, metres; all the same, or none, where
            they are not known.
        camera: its intrinsics and size.
        uncertainty: how exact the box is.

    Returns:
        The new result; the one that came in where the box tells nothing, or contradicts the correspondences.
    """
    if not detection.is_tight or (outline == outline[:1]).all():
        return result
    size = (camera.width, camera.height)
    for _ in range(_ROUNDS):
        pose = result.camera_from_object
        prior = translation_prior_from_box(pose, outline, detection.box, camera.intrinsics, size, uncertainty)
        if prior is None:
            break
        placed = solve(initial=pose, translation_prior=prior, iterations=0)
        if placed is None:
            break
        result = placed
    return result
