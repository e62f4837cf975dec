"""Settings of the detector `patches`."""

from __future__ import annotations

from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class PatchesSettings(Settings):
    """Where objects are looked for."""

    scales: int = setting(4, "Sizes that the image is resized to, one pass of the network each.", ge=1, le=16)
    domain: Domain = setting("real", DOMAIN)
