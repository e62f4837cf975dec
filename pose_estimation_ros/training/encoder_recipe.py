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
    for name in EncoderRecipe.model_fields:
        value: Any = getattr(recipe, name)
        if value is not None and value is not False:
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
