"""Where the images come from that a method looks at: a mapping of features is for real ones only."""

from __future__ import annotations

from typing import Literal

Domain = Literal["real", "synthetic"]
DOMAIN = "What images are: features of real ones are mapped to those of renderings, if the network was adapted."
