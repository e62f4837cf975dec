"""Settings of `toy` and `toy_colours`."""

from __future__ import annotations

from pose_estimation_ros.settings import Settings, setting


class ToySettings(Settings):
    """How poses are made of what the network says."""

    rotation_deg: float = setting(0.0, "Rotation of all objects about the optical axis, degrees.", ge=-180.0, le=180.0)
    crop_padding: float = setting(1.5, "Side of the crop over the longer side of the box.", ge=1.0, le=4.0)


class ToyColoursSettings(Settings):
    """What counts as colourful."""

    min_saturation: int = setting(60, "Difference between the channels of a pixel, of 255.", ge=1, le=255)
