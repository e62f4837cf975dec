"""The parameters of the node `planning_scene`."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.settings import Settings, setting


class PlanningSceneSettings(Settings):
    """Which pose node the scene is made from, and what changes it."""

    pose_node: str = setting(
        "pose_estimation",
        "Name of the pose node, relative to the namespace of this one.",
        pattern=r"^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$",
    )
    processing: Literal["continuous", "on_demand"] = setting(
        "continuous", "As the pose node has it; on_demand: results are latched, and silence says nothing."
    )
    bundle: str = setting(
        "demo",
        "Folder of the pose node's bundle, or the name of a shipped one: meshes and frames of the objects.",
        pattern=r"^.*\S.*$",
    )
    mesh_dir: str = setting("", "Folder of the meshes, for bundles that may not ship them; empty for the bundle's own.")
    mesh_triangles: int = setting(
        1000, "Meshes of more triangles are simplified to so many; every one costs time.", ge=20, le=100_000
    )
    planning_frame: str = setting(
        "",
        "Frame that does not move, such as base_link, in which the objects are put at the time of the image; needs "
        "tf2_ros. Empty leaves them in the camera's frame, which is right for a camera that stands still.",
    )
    tolerance_m: float = setting(0.002, "Metres that an object has to move before it is moved in the scene.", ge=0.0)
    tolerance_deg: float = setting(1.0, "The same of rotations, degrees.", ge=0.0, le=180.0)
    max_position_std_m: float = setting(
        0.03, "Poses whose position is less certain (standard deviation along the worst axis) are refused.", gt=0.0
    )
    max_rotation_std_deg: float = setting(
        30.0, "The same of rotations, degrees. A pose without a covariance is not refused.", gt=0.0
    )
    silence_s: float = setting(
        5.0, "Seconds without a message of the pose node after which its objects are removed; 0 for never.", ge=0.0
    )
    diagnostics_period_s: float = setting(1.0, "Seconds between two messages on /diagnostics.", ge=0.1, le=60.0)
