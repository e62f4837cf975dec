"""Settings of Fast DDS for a node, unless somebody has chosen some."""

from __future__ import annotations

import os
from pathlib import Path

from pose_estimation_ros.shipped import shipped

VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # of Fast DDS 2 and 3
_FOUND_BY_ITSELF = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")  # in the working directory
_PROFILE = Path("fastdds", "network.xml")


def use_own_profile() -> None:
    """Have Fast DDS find peers and repeat lost messages sooner than it does by itself.

    Where one of VARIABLES is set, even to nothing, or a file of profiles lies in the working directory, somebody has
    chosen. Other middleware does not look at the variables. To be called before rclpy is started.
    """
    if any(name in os.environ for name in VARIABLES) or any(Path(name).exists() for name in _FOUND_BY_ITSELF):
        return
    profile = next((path for folder in shipped("config") if (path := folder / _PROFILE).is_file()), None)
    if profile is not None:
        os.environ.update(dict.fromkeys(VARIABLES, str(profile)))
