"""The parameters of the node `hands`, all fixed once it runs, and what they build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.node_settings import ImageNodeSettings
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle
from pose_estimation_ros.pipeline_settings import DEVICE_PATTERN, resolve_method
from pose_estimation_ros.ros.fixed_parameters import declare_fixed, given_parameters
from pose_estimation_ros.ros.parameters import ORIGIN
from pose_estimation_ros.settings import (
    Layer,
    SettingInfo,
    Settings,
    SettingsError,
    list_settings,
    resolve,
    setting,
    values_of,
)

if TYPE_CHECKING:
    from rclpy.node import Node

METHOD = "hands"


class HandNodeSettings(ImageNodeSettings):
    """What the node has beside the search for hands."""

    bundle: str = setting(
        "hands", "Folder of a bundle with a network for hands, or the name of a shipped one.", pattern=r"^.*\S.*$"
    )
    image_transport: Literal["raw"] = setting("raw", "Depth comes uncompressed.")
    device: str = setting("auto", "Where the network runs: auto, cpu, cuda, cuda:N.", pattern=DEVICE_PATTERN)
    depth_unit_m: float = setting(0.001, "Metres that 1 stands for in 16UC1 images.", gt=0.0, le=0.1)
    frame_prefix: str = setting(
        "auto",
        "Put before the child frames on TF: <frame_prefix>hand_<number>/<joint>; auto is the node's namespace and a "
        "slash, nothing without a namespace.",
        pattern=r"^([A-Za-z0-9_.-][A-Za-z0-9_./-]*)?$",
    )
    publish_tf: bool = setting(True, "Publish the joints on /tf.")


def known_hand_parameters() -> dict[str, SettingInfo]:
    """Return every parameter by name: the node's own, and those of the method."""
    method = find_method("hands", METHOD).settings_model()
    return {item.name: item for item in (*list_settings(HandNodeSettings), *list_settings(method, f"{METHOD}."))}


def declare_hand_parameters(node: Node) -> dict[str, Any]:
    """Declare all parameters of a node; return those that somebody set, by name.

    Where nothing was given and the bundle chose a value, that is the default.

    Raises:
        SettingsError: if one of these is unknown or bad.
    """
    known = known_hand_parameters()
    given = given_parameters(node, known)
    own = hand_node_settings(given)
    method = finder_settings(given, _readable_bundle(own.bundle))
    declare_fixed(node, known, dict(values_of(own)) | dict(values_of(method, f"{METHOD}.")))
    return given


def hand_node_settings(given: Mapping[str, Any]) -> HandNodeSettings:
    """Return what the parameters that somebody set say of the node itself.

    Raises:
        SettingsError: if a value is bad.
    """
    return resolve(HandNodeSettings, [Layer(ORIGIN, given)]).settings


def finder_settings(given: Mapping[str, Any], bundle: Bundle | None) -> Settings:
    """Find the settings of the search for hands: defaults, then what the bundle says, then what somebody set.

    Raises:
        SettingsError: if a value is bad.
    """
    return resolve_method(find_method("hands", METHOD), bundle, [Layer(ORIGIN, given)])


def _readable_bundle(name: str) -> Bundle | None:
    """Return the bundle whose settings are the defaults; what is wrong with it is told when the node is configured."""
    try:
        bundle = load_bundle(name)
        finder_settings({}, bundle)
    except (BundleError, SettingsError):
        return None
    return bundle


def load_finder(given: Mapping[str, Any]) -> Any:
    """Load the bundle that the parameters ask for, and run its network once.

    Raises:
        SettingsError: if a value is bad.
        BundleError: if the bundle or its weights are missing or damaged.
    """
    own = hand_node_settings(given)
    bundle = load_bundle(own.bundle)
    method = find_method("hands", METHOD)
    settings = finder_settings(given, bundle)
    finder = method.make(LoadContext(bundle, resolve_device(own.device), settings))
    finder.warm_up()
    return finder
