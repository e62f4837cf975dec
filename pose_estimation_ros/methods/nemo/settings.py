"""Settings of the backend `nemo`."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.methods.covariance import ACROSS, ALONG, ROTATION, CovarianceScale
from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class FitSettings(Settings):
    """How poses are moved."""

    steps: int = setting(6, "Gauss-Newton steps.", ge=1, le=100)
    vertices: int = setting(256, "Vertices of each mesh that are asked for their matches.", ge=8)
    search_radius_cells: int = setting(
        2, "Cells about a projected vertex in which its match is looked for.", ge=1, le=16
    )
    temperature: float = setting(0.07, "Of the odds between cells.", gt=0.0)
    first_sigma_cells: float = setting(2.0, "Standard deviation of matches in the first step, cells.", gt=0.0)
    last_sigma_cells: float = setting(0.8, "Standard deviation of matches in the last step, cells.", gt=0.0)
    damping: float = setting(1e-3, "Share of the Hessian's trace that damps each step.", ge=0.0)
    cell_weight: float = setting(
        6.0, "Weight of what cells say of vertices, relative to what vertices say of cells.", ge=0.0
    )
    box_weight: float = setting(
        0.05, "Weight of each edge of the box, relative to all vertices and cells together.", ge=0.0
    )


class NemoCovarianceScale(CovarianceScale):
    """Errors over those expected, as seen on renderings of the demo's objects."""

    across: float = setting(3.5, ACROSS, gt=0.0)
    along: float = setting(2.5, ALONG, gt=0.0)
    rotation: float = setting(3.0, ROTATION, gt=0.0)


class NemoSettings(Settings):
    """How poses are found."""

    procedure: Literal["fast", "paper"] = setting(
        "fast", "paper: the published one, 144 starts of which the best is moved by 300 Adam steps; far slower."
    )
    occluder_model: bool = setting(True, "Decide for every cell between object and clutter.")
    crop_padding: float = setting(1.5, "Side of the crop over the longer side of the box.", ge=1.0, le=4.0)
    grid_directions: int = setting(300, "Viewing directions of the starting grid, over the whole sphere.", ge=6)
    grid_roll_step_deg: float = setting(
        30.0, "Between the starting grid's rotations about the viewing direction, degrees.", gt=0.0, le=180.0
    )
    grid_starts: int = setting(2, "Poses of the grid that are moved.", ge=1, le=100)
    match_start: bool = setting(True, "Move the pose as well that PnP finds from the best vertex of every cell.")
    fit: FitSettings = FitSettings()
    covariance_scale: NemoCovarianceScale = NemoCovarianceScale()
    domain: Domain = setting("real", DOMAIN)
    seed: int = setting(0, "Of RANSAC's samples.", ge=0)
