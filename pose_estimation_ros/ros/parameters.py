"""The parameters of the node: one table gives declaration, description, range and validation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node


@dataclass(frozen=True)
class Parameter:
    """One row of the table. The type is the type of the default."""

    name: str
    default: bool | int | float | str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""  # regular expression that a string must match as a whole
    expected: str = ""  # the pattern in words
    read_only: bool = True  # fixed once the node is up

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value, None when it is good."""
        if type(value) != type(self.default):  # noqa: E721 -- true is not a number here
            return f"parameter {self.name} = {value!r}: expected {_TYPE_NAMES[type(self.default)]}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not low <= value <= high:
                return f"parameter {self.name} = {value:g}: expected {low:g} to {high:g}"
        if self.choices and value not in self.choices:
            return f"parameter {self.name} = {value!r}: expected one of {', '.join(self.choices)}"
        if self.pattern and not re.fullmatch(self.pattern, str(value)):
            return f"parameter {self.name} = {value!r}: expected {self.expected}"
        return None


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number with a decimal point", str: "a string"}

TABLE: tuple[Parameter, ...] = (
    Parameter(
        "bundle",
        "demo",
        "Folder of a bundle, or the name of a shipped one (demo, lmo): the objects and their networks.",
        pattern=r".*\S.*",
        expected="a folder or a name",
    ),
    Parameter("backend", "pix2pose", "Pose estimator: the name of one of the backends the bundle has weights for."),
    Parameter(
        "refiner", "none", "Refinement of the poses by render-and-compare: attention; none leaves them as they are."
    ),
    Parameter(
        "device",
        "auto",
        "Where the networks run; auto takes the GPU if there is one.",
        pattern=r"auto|cpu|cuda(:\d+)?",
        expected="auto, cpu, cuda or cuda:N",
    ),
    Parameter("mesh_dir", "", "Folder of the meshes, for bundles that may not ship them; empty for the bundle's own."),
    Parameter(
        "image_transport",
        "raw",
        "raw subscribes image, compressed subscribes image/compressed.",
        choices=("raw", "compressed"),
    ),
    Parameter(
        "image_is_rectified",
        False,
        "true: the image is rectified, use P of camera_info without distortion. false: raw image, use K with D.",
    ),
    Parameter(
        "detector.method",
        "mask_rcnn",
        "What finds the objects: mask_rcnn, or patches (sliding window of the heatmaps network, one of each object).",
        choices=("mask_rcnn", "patches"),
    ),
    Parameter(
        "detector.score_threshold",
        0.5,
        "Detections below this score are ignored. Takes effect with the next frame.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    ),
    Parameter(
        "pose.score_threshold",
        0.0,
        "Poses below this score are not published. Takes effect with the next frame.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    ),
    Parameter("tracking.enabled", True, "Keep identities and smooth poses over time; false treats every frame alone."),
    Parameter(
        "tracking.mode",
        "detect",
        "detect: look for objects in every frame. refine: refine the poses of the frame before, and detect when a pose "
        "is no longer sure, or after tracking.detect_every frames; needs a refiner.",
        choices=("detect", "refine"),
    ),
    Parameter(
        "tracking.detect_every",
        10,
        "Frames from one detection to the next where tracking.mode is refine; new objects wait so long.",
        minimum=1,
        maximum=1000,
    ),
    Parameter(
        "frame_prefix",
        "",
        "Put before the child frames on TF: <frame_prefix><object name>_<track id>.",
        pattern=r"(?!/)[A-Za-z0-9_./-]*",
        expected="letters, digits, _ . - and /, not starting with /",
    ),
    Parameter("publish_tf", True, "Publish the poses on /tf; takes effect with the next frame.", read_only=False),
    Parameter("autostart", True, "Configure and activate at start; false waits for lifecycle transitions."),
    Parameter(
        "diagnostics_period_s",
        1.0,
        "Seconds between two messages on /diagnostics.",
        minimum=0.1,
        maximum=60.0,
    ),
)

_BY_NAME = {parameter.name: parameter for parameter in TABLE}


def problem_with(values: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the first bad value, None when all are good; names outside the table pass."""
    for name, value in values.items():
        parameter = _BY_NAME.get(name)
        reason = parameter.problem(value) if parameter else None
        if reason:
            return reason
    return None


def defaults() -> dict[str, bool | int | float | str]:
    """Return the default of every parameter by name."""
    return {parameter.name: parameter.default for parameter in TABLE}


def declare(node: Node) -> dict[str, Any]:
    """Declare every parameter of the table on a node.

    Returns:
        The values by name, with what launch files and the command line set.

    Raises:
        ValueError: if a value that was set from outside is bad; the message names parameter, value and expectation.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    values = {}
    for parameter in TABLE:
        try:
            values[parameter.name] = node.declare_parameter(
                parameter.name, parameter.default, _descriptor(parameter)
            ).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            given = node._parameter_overrides.get(parameter.name)  # rclpy has no public way to it
            reason = parameter.problem(given.value) if given is not None else None
            raise ValueError(reason or str(error)) from error
        reason = parameter.problem(values[parameter.name])
        if reason:
            raise ValueError(reason)
    return values


def _descriptor(parameter: Parameter) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    constraints = f"one of {', '.join(parameter.choices)}" if parameter.choices else parameter.expected
    descriptor = ParameterDescriptor(
        description=parameter.description, additional_constraints=constraints, read_only=parameter.read_only
    )
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def readme_table() -> str:
    """Return the parameters as a Markdown table."""
    rows = ["| parameter | default | at run time | meaning |", "|---|---|---|---|"]
    for parameter in TABLE:
        default = str(parameter.default).lower() if isinstance(parameter.default, bool) else repr(parameter.default)
        changeable = "no" if parameter.read_only else "yes"
        meaning = parameter.description.replace("<", "&lt;")  # Markdown takes <name> for a tag and shows nothing
        rows.append(f"| `{parameter.name}` | `{default}` | {changeable} | {meaning} |")
    return "\n".join(rows)
