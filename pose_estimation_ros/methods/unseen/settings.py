"""Settings of the backend `unseen`."""

from __future__ import annotations

from pose_estimation_ros.methods.render_compare_settings import RenderCompareSettings
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.settings import setting


class UnseenSettings(ViewSearchSettings, RenderCompareSettings):
    """How densely rotations are tabled, and how many of them are looked at more closely."""

    compared: int = setting(16, "Of these, how many are compared at the full size.", ge=1, le=256)
    finished: int = setting(6, "Of these, how many are refined to the end.", ge=1, le=64)
    stages: int = setting(2, "Comparisons of each of the last ones.", ge=1, le=16)
