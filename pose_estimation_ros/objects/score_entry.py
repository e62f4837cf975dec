"""What bundle.yaml says of the published score: the weights that make a probability of what is known of a pose."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScoreTerm(BaseModel):
    """One piece of evidence."""

    model_config = ConfigDict(extra="forbid")

    weight: float = Field(allow_inf_nan=False)  # of a unit of it, in units of log odds
    low: float = Field(allow_inf_nan=False)  # values below count as this one: less was hardly seen
    high: float = Field(allow_inf_nan=False)  # values above count as this one
    usual: float = Field(allow_inf_nan=False)  # stands in where it is unknown

    @model_validator(mode="after")
    def _ascends(self) -> ScoreTerm:
        if not self.low <= self.usual <= self.high:
            raise ValueError(f"low {self.low:g}, usual {self.usual:g}, high {self.high:g}: expected rising values")
        return self


class ScoreEntry(BaseModel):
    """The calibrated score of a backend with a refiner, as `pose_calibrate` fits it."""

    model_config = ConfigDict(extra="forbid")

    backend: str
    refiner: str  # "none" for none
    detector: str
    intercept: float = Field(allow_inf_nan=False)
    terms: dict[str, ScoreTerm]
    networks: dict[str, str] = {}  # sha256 of the weights that it was fitted with, by role
    fit: dict[str, Any] = {}  # command, scenes, poses, what came out
