"""Parameters that are fixed once a node runs: what somebody set, and their declaration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pose_estimation_ros.node_settings import is_of_all_nodes
from pose_estimation_ros.ros.parameters import ORIGIN, descriptor
from pose_estimation_ros.settings import SettingInfo, refuse_unknown

if TYPE_CHECKING:
    from rclpy.node import Node


def given_parameters(node: Node, known: Mapping[str, SettingInfo]) -> dict[str, Any]:
    """Return the parameters that launch files, parameter files or the command line gave, by name.

    Raises:
        SettingsError: if one of these is unknown.
    """
    overrides = node._parameter_overrides  # rclpy has no public way to those that are not declared
    given = {name: item.value for name, item in overrides.items() if not is_of_all_nodes(name)}
    refuse_unknown(given, known, ORIGIN)
    return given


def declare_fixed(node: Node, known: Mapping[str, SettingInfo], values: Mapping[str, Any]) -> None:
    """Declare all parameters of a node with the values in force."""
    for name, info in known.items():
        node.declare_parameter(name, values[name], descriptor(info, read_only=True), ignore_override=True)
