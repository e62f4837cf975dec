"""Settings of the search among rendered views."""

from __future__ import annotations

from pose_estimation_ros.settings import Settings, setting


class ViewTableSettings(Settings):
    """How densely rotations are tabled."""

    directions: int = setting(150, "Viewing directions in the table, if the whole sphere is.", ge=12, le=2000)
    roll_step_deg: float = setting(30.0, "Between rotations about the viewing direction, in degrees.", ge=5.0, le=180.0)
    every_rotation: bool = setting(
        False, "Table all rotations, and not only those that the bundle's pose prior allows."
    )
    max_table_mb: float = setting(64.0, "Most memory that the table of one object may take, megabytes.", gt=0.0)


class ViewSearchSettings(ViewTableSettings):
    """How densely rotations are tabled, and how many of them are looked at more closely."""

    channels: int = setting(32, "Principal components that are kept of the features.", ge=4, le=512)
    aspect_weight: float = setting(
        0.4, "By which views lose similarity for the logarithm of their box's aspect ratio over the one seen.", ge=0.0
    )
    candidates: int = setting(24, "Views that are compared with the image in a small rendering.", ge=1, le=512)
    shortlist: int = setting(16, "Of these, how many are compared so once more.", ge=1, le=512)
    compared: int = setting(8, "Of these, how many are compared at the full size.", ge=1, le=256)
    similarity_weight: float = setting(
        3.0, "The cost is the logarithm of the expected error minus the similarity times this.", ge=0.0
    )
    box_weight: float = setting(
        0.5, "What a rendering whose box does not overlap the one seen at all adds to the cost.", ge=0.0
    )
    view_weight: float = setting(
        1.0, "By which a view's cost grows for being less similar than the most similar one in the table.", ge=0.0
    )
