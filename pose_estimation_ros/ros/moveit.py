"""Messages of MoveIt: not everybody has them, and who needs them says how to get them."""

from __future__ import annotations

_PACKAGES = ("moveit_msgs", "shape_msgs")


def missing_moveit(error: ModuleNotFoundError) -> str | None:
    """Say how to get the package of MoveIt's messages that an import lacks; None if it lacks something else."""
    package = (error.name or "").partition(".")[0]
    if package not in _PACKAGES:
        return None
    debian = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
    return f"{package} is not installed; install it ({debian}) and source the setup file of your ROS 2"
