"""What a recipe says of the encoder of a network: what it starts from, and how much of it learns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn


class EncoderRecipe(BaseModel):
    """Keys that all recipes share whose network has an encoder."""

    model_config = ConfigDict(extra="forbid")

    # Public weights that the encoder starts from, in place of encoder_from: `imagenet` for encoder lite0, `coco` for
    # the detector's backbone resnet50_fpn.
    pretrained: Literal["imagenet", "coco"] | None = None
    # Learning rate of the encoder, relative to that of the rest; 0 freezes it. Absent: 1, or 0 with network.frozen.
    encoder_rate: float | None = Field(default=None, ge=0.0)
    # Stages of the encoder that do not learn, counted from the image; 1 is the stem and what has its first map. The
    # large maps of the first stages are the most of the work.
    frozen_stages: int = Field(default=0, ge=0, le=4)
    frozen_statistics: bool = False  # the encoder normalises with the statistics it came with; suits small batches

    @model_validator(mode="before")
    @classmethod
    def _starts_from_one(cls, content: Any) -> Any:
        """Let public weights take the place of the network that an encoder comes from by default."""
        if not isinstance(content, dict) or not content.get("pretrained"):
            return content
        for name in ("encoder_from", "initial"):
            if content.get(name) is not None:
                raise ValueError(
                    f"pretrained = {content['pretrained']!r} and {name} = {content[name]!r}: expected one of them"
                )
        return {**content, "encoder_from": None} if "encoder_from" in cls.model_fields else content


def encoder_of(network: nn.Module, recipe: EncoderRecipe) -> nn.Module | None:
    """Return the encoder of a network, None where it has none.

    Raises:
        ValueError: if the recipe says something of an encoder that is not there.
    """
    encoder = getattr(network, "encoder", None)
    if encoder is not None:
        return encoder
    for name, field in EncoderRecipe.model_fields.items():
        value: Any = getattr(recipe, name)
        if value != field.default:
            raise ValueError(f"{name} = {value!r}: this network has no encoder")
    return None


def rate_of_encoder(network: nn.Module, recipe: EncoderRecipe) -> float:
    """Return the learning rate of the encoder, relative to that of the rest.

    Raises:
        ValueError: if the recipe wants a frozen encoder to learn.
    """
    frozen, rate = bool(getattr(network, "frozen", False)), recipe.encoder_rate
    if frozen and rate:
        raise ValueError(f"encoder_rate = {rate}: network.frozen = true; expected 0, or network: {{frozen: false}}")
    if frozen:
        return 0.0
    return 1.0 if rate is None else rate


def encoder_rates(encoder: nn.Module, recipe: EncoderRecipe, rate: float, prefix: str) -> dict[str, float]:
    """Return factors on the learning rate by the beginnings of the names of an encoder's parameters, first match first.

    Args:
        encoder: the encoder.
        recipe: says what of it does not learn.
        rate: of what learns.
        prefix: of the encoder's names in the network.

    Raises:
        ValueError: if the encoder has no stages to freeze, or fewer.
    """
    frozen = dict.fromkeys((f"{prefix}{name}." for name in _frozen_parts(encoder, recipe)), 0.0)
    return {**frozen, prefix: rate} if rate != 1.0 or frozen else {}


def keep_statistics(encoder: nn.Module, recipe: EncoderRecipe, rate: float) -> None:
    """Let an encoder in training normalise what does not learn, or everything, with the statistics it came with."""
    if recipe.frozen_statistics or rate == 0.0:
        encoder.eval()
    for name in _frozen_parts(encoder, recipe):
        encoder.get_submodule(name).eval()


def _frozen_parts(encoder: nn.Module, recipe: EncoderRecipe) -> list[str]:
    if recipe.frozen_stages == 0:
        return []
    there = len(getattr(encoder, "stages", ()))
    if recipe.frozen_stages > there:
        raise ValueError(f"frozen_stages = {recipe.frozen_stages}: this encoder has {there}")
    return ["stem", *(f"stages.{index}" for index in range(recipe.frozen_stages))]
