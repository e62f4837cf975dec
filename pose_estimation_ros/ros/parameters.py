"""The parameters of the node, made from the settings models: declaration, description, range and validation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pose_estimation_ros.methods.registry import choices
from pose_estimation_ros.objects.bundle import BundleError, load_bundle
from pose_estimation_ros.pipeline_settings import (
    PipelineSettings,
    RunSettings,
    bundle_layer,
    known_settings,
    resolve_run,
)
from pose_estimation_ros.settings import Layer, SettingInfo, list_settings, nearest, setting

if TYPE_CHECKING:
    from rclpy.node import Node

ORIGIN = "the node's parameters"
# Parameters that rclpy itself knows.
_FOREIGN = re.compile(r"use_sim_time|start_type_description_service|qos_overrides\..*")


class NodeSettings(PipelineSettings):
    """What the node has beside the pipeline."""

    bundle: str = setting(
        "demo",
        "Folder of a bundle, or the name of a shipped one (demo, lmo): the objects and their networks.",
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
        "",
        "Put before the child frames on TF: <frame_prefix><object name>_<track id>; letters, digits, _ . - and /, not "
        "starting with /.",
        pattern=r"^([A-Za-z0-9_.-][A-Za-z0-9_./-]*)?$",
    )
    publish_tf: bool = setting(True, "Publish the poses on /tf; takes effect with the next frame.", at_run_time=True)
    autostart: bool = setting(True, "Configure and activate at start; false waits for lifecycle transitions.")
    diagnostics_period_s: float = setting(1.0, "Seconds between two messages on /diagnostics.", ge=0.1, le=60.0)


# The order of the documentation; all others follow.
_FIRST = ("bundle", "backend", "refiner", "device", "precision", "mesh_dir")


@lru_cache(maxsize=1)
def table() -> dict[str, SettingInfo]:
    """Return every parameter by name: the node's own, the pipeline's, and those of all methods."""
    known = known_settings(NodeSettings)
    return {name: known[name] for name in (*_FIRST, *(name for name in known if name not in _FIRST))}


def choices_of(info: SettingInfo) -> tuple[str, ...]:
    """Return what a parameter may be: of those that choose a method, the methods that are installed."""
    kinds: dict[str, Any] = {"backend": "backend", "refiner": "refiner", "detector.method": "detector"}
    return choices(kinds[info.name]) if info.name in kinds else info.choices


def problem_with(values: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the first bad value, None when all are good; unknown names are bad, rclpy's own pass."""
    known = table()
    for name, value in values.items():
        if _FOREIGN.fullmatch(name):
            continue
        if name not in known:
            return f"unknown parameter {name!r}; {nearest(name, known)}"
        reason = _problem(known[name], value)
        if reason:
            return reason
    return None


def _problem(info: SettingInfo, value: Any) -> str | None:
    allowed = choices_of(info)
    expected = f"one of {', '.join(allowed)}" if allowed else info.expected
    if not _has_type(info.type, value):
        hint = " with a decimal point" if info.type is float and isinstance(value, int) else ""
        return f"parameter {info.name} = {value!r}: expected {expected}{hint}"
    if allowed and value not in allowed:
        return f"parameter {info.name} = {value!r}: {nearest(value, allowed)} (expected {expected})"
    if info.pattern and not re.search(info.pattern, value):
        return f"parameter {info.name} = {value!r}: {info.description}"
    low, high = info.minimum, info.maximum
    if info.type in (int, float) and not ((low is None or value >= low) and (high is None or value <= high)):
        return f"parameter {info.name} = {value:g}: expected {expected}"
    return None


def _has_type(kind: type, value: Any) -> bool:
    if kind is tuple:
        return not isinstance(value, str) and hasattr(value, "__iter__")
    return type(value) is kind  # true is not a number here


def defaults() -> dict[str, Any]:
    """Return the default of every parameter by name."""
    return {name: info.default for name, info in table().items()}


def run_settings(parameters: Mapping[str, Any], bundle: Any) -> RunSettings:
    """Return the settings of the pipeline that the parameters ask for.

    Raises:
        SettingsError: if a value is bad.
    """
    own = {item.name for item in list_settings(NodeSettings)} - {item.name for item in list_settings(PipelineSettings)}
    wanted = defaults()
    layer = dict(pair for item in bundle_layer(bundle) for pair in item.values.items())
    changed = {
        name: value
        for name, value in parameters.items()
        if name not in own and name in wanted and _plain(value) != _plain(layer.get(name, wanted[name]))
    }
    return resolve_run(bundle, [Layer(ORIGIN, changed)])


def _plain(value: Any) -> Any:
    return tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def declare(node: Node) -> dict[str, Any]:
    """Declare every parameter on a node; where the bundle chose a value, that is the default.

    Returns:
        The values by name, with what launch files and the command line set.

    Raises:
        ValueError: if a parameter that was set from outside is unknown or its value is bad; the message names
            parameter, value and expectation.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    given = node._parameter_overrides  # rclpy has no public way to it
    reason = problem_with({name: item.value for name, item in given.items()})
    if reason:
        raise ValueError(reason)
    starting = defaults() | _bundle_defaults(given["bundle"].value if "bundle" in given else defaults()["bundle"])
    values = {}
    for name, info in table().items():
        default = list(starting[name]) if info.type is tuple else starting[name]
        try:
            values[name] = node.declare_parameter(name, default, _descriptor(info)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ValueError(f"parameter {name}: {error}") from error
    return values


def _bundle_defaults(bundle: str) -> dict[str, Any]:
    """Return what the bundle says of settings; of one that cannot be read, configuring tells."""
    try:
        layers = bundle_layer(load_bundle(bundle))
    except BundleError:
        return {}
    known = table()
    return {name: value for layer in layers for name, value in layer.values.items() if name in known}


def _descriptor(info: SettingInfo) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    allowed = choices_of(info)
    descriptor = ParameterDescriptor(
        description=info.description,
        additional_constraints=f"one of {', '.join(allowed)}" if allowed else info.expected,
        read_only=not info.at_run_time,
    )
    low, high = info.minimum, info.maximum
    if low is not None and high is not None:
        if info.type is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def markdown_table() -> str:
    """Return the parameters as a Markdown table."""
    rows = ["| parameter | default | at run time | meaning |", "|---|---|---|---|"]
    for name, info in table().items():
        default = str(info.default).lower() if info.type is bool else repr(info.default)
        if info.type is tuple:
            default = repr(list(info.default))  # type: ignore[arg-type]
        meaning = info.description.replace("<", "&lt;")  # Markdown takes <name> for a tag and shows nothing
        allowed = choices_of(info)
        if allowed:
            meaning += f" One of {', '.join(allowed)}."
        rows.append(f"| `{name}` | `{default}` | {'yes' if info.at_run_time else 'no'} | {meaning} |")
    return "\n".join(rows)
