"""The parameters of the node: what it has beside the pipeline, and how a set of parameters is read."""

from __future__ import annotations

import re
from typing import Literal

from pose_estimation_ros.pipeline_settings import known_settings
from pose_estimation_ros.settings import Layer, SettingInfo, Settings, list_settings, refuse_unknown, setting

ON_DEMAND = "on_demand"  # value of `processing`
# Parameters that every ROS node has.
_OF_ALL_NODES = re.compile(r"use_sim_time|start_type_description_service|qos_overrides\..*")


class ImageNodeSettings(Settings):
    """What every node that processes images has."""

    bundle: str = setting(
        "demo",
        "Folder of a bundle, or the name of a shipped one (demo, lmo): the objects and their networks. What changed in "
        "it is taken up while the node runs by the service ~/reload.",
        pattern=r"^.*\S.*$",
    )
    image_transport: Literal["raw", "compressed"] = setting(
        "raw", "raw subscribes image, compressed subscribes image/compressed."
    )
    image_is_rectified: bool = setting(
        False,
        "true: the image is rectified, use P of camera_info without distortion. false: raw image, use K with D.",
    )
    frame_prefix: str = setting(
        "auto",
        "Put before the child frames on TF: <frame_prefix><object name>_<track id>; letters, digits, _ . - and /, not "
        "starting with /. auto is the node's namespace and a slash, nothing without a namespace.",
        pattern=r"^([A-Za-z0-9_.-][A-Za-z0-9_./-]*)?$",
    )
    publish_tf: bool = setting(True, "Publish the poses on /tf; takes effect with the next frame.", at_run_time=True)
    autostart: bool = setting(True, "Configure and activate at start; false waits for lifecycle transitions.")
    diagnostics_period_s: float = setting(1.0, "Seconds between two messages on /diagnostics.", ge=0.1, le=60.0)


class NodeSettings(ImageNodeSettings):
    """What the node has beside the pipeline."""

    processing: Literal["continuous", "on_demand"] = setting(
        "continuous",
        "continuous: every image is processed. on_demand: images are not even subscribed until the service ~/detect is "
        "called, which takes the next one; every call stands for itself (no tracking), and its results are latched.",
    )
    detect_timeout_s: float = setting(
        10.0, "Seconds after which a call of ~/detect is answered in any case.", ge=0.1, le=600.0, at_run_time=True
    )


def is_of_all_nodes(name: str) -> bool:
    """Tell whether every ROS node has a parameter of this name."""
    return _OF_ALL_NODES.fullmatch(name) is not None


def known_parameters() -> dict[str, SettingInfo]:
    """Return every parameter by name: the node's own, the pipeline's, and those of all methods.

    Raises:
        ValueError: if a method has the name of a parameter.
    """
    own = {item.name: item for item in list_settings(NodeSettings)}
    others = known_settings()
    for name in {name.partition(".")[0] for name in others} & own.keys():
        raise ValueError(f"method {name!r}: the node has a parameter of that name; expected another name")
    return own | others


def split_parameters(layer: Layer) -> tuple[Layer, Layer]:
    """Part what only the node has from the settings of pipeline and methods; what all ROS nodes have is left out.

    Raises:
        SettingsError: if a name is unknown.
    """
    values = {name: value for name, value in layer.values.items() if not is_of_all_nodes(name)}
    refuse_unknown(values, known_parameters(), layer.origin)
    own = {item.name for item in list_settings(NodeSettings)}
    return (
        Layer(layer.origin, {name: value for name, value in values.items() if name in own}),
        Layer(layer.origin, {name: value for name, value in values.items() if name not in own}),
    )
