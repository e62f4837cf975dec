"""What decides how poses of photographs are made accurate and judged."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class JudgeSettings(BaseModel):
    """How likely a pose is right, within five pixels of a 640 pixels wide image: a logistic regression.

    `python benchmarks/labels.py --fit` fits the first three numbers to photographs with known poses, and prints the
    median similarity there as the fourth.
    """

    model_config = ConfigDict(extra="forbid")

    intercept: float = 0.1
    per_residual_px: float = Field(default=-1.8, le=0.0)  # of the edges, pixels of a 640 pixels wide image
    per_similarity: float = Field(default=10.0, ge=0.0)  # of rendering and photograph, as the refiner sees it
    usual_similarity: float = 0.3  # where the refiner says none
    accepted_probability: float = Field(default=0.7, ge=0.0, le=1.0)  # from which on nobody has to look


class RefinementSettings(BaseModel):
    """From where the refiner starts, so that it also finds poses that are farther away than it reaches."""

    model_config = ConfigDict(extra="forbid")

    starts: int = Field(default=8, ge=1, le=64)  # the pose itself and others about it
    shift_diameters: float = Field(default=0.2, ge=0.0)  # of the others, beside the pose
    distance_share: float = Field(default=0.03, ge=0.0, le=0.5)  # standard deviation of their distance
    rotation_deg: float = Field(default=5.0, ge=0.0, le=180.0)  # standard deviation of their rotation about each axis
    kept: int = Field(default=3, ge=1)  # of the results, refined once more


class LabelSettings(BaseModel):
    """Settings of `pose_label`."""

    model_config = ConfigDict(extra="forbid")

    refinement: RefinementSettings = RefinementSettings()
    judge: JudgeSettings = JudgeSettings()
