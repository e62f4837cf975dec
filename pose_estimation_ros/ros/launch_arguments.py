"""Arguments of the launch files, checked before anything starts: an error afterwards would leave processes behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pose_estimation_ros.ros.node_parameter_files import refuse_files_for_other_nodes
from pose_estimation_ros.ros.rviz_executable import rviz_executable
from pose_estimation_ros.settings import nearest

SWITCH = ("true", "false", "True", "False", "1", "0")
# What arguments may be, where not anything: launch itself refuses the rest.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "image_transport": ("", "raw", "compressed"),
    "processing": ("", "continuous", "on_demand"),
    "use_sim_time": SWITCH,
    "respawn": SWITCH,
    "rviz": SWITCH,
    "log_level": ("debug", "info", "warn", "error", "fatal"),
}
_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter")  # that ros2 launch adds itself
_NUMBERS = {"respawn_delay": False, "rate": True}  # and whether they must be more than 0


def is_true(value: str) -> bool:
    """Read a switch, one of SWITCH."""
    return value in ("true", "True", "1")


def refuse_unknown_arguments(command: Sequence[str], launch_file: str, known: Collection[str]) -> None:
    """Refuse NAME:=VALUE of an unknown name, over which launch would pass in silence.

    Args:
        command: the words of `ros2 launch`.
        launch_file: name of the file whose arguments are known. Another one may include it, and has its own.
        known: names of arguments.

    Raises:
        ValueError: naming the first unknown argument, and the nearest known one.
    """
    if launch_file not in {Path(word).name for word in command if ":=" not in word}:
        return
    for name in [word.partition(":=")[0] for word in command if ":=" in word]:
        if name not in known and name not in _OF_LAUNCH:
            raise ValueError(f"unknown launch argument {name!r}; {nearest(name, known)}")


def check_values(values: Mapping[str, str], node: str = "pose_estimation") -> None:
    """Check what can be known of the values of arguments before anything starts.

    Args:
        values: of the arguments, by name.
        node: name of the node that takes params_file.

    Raises:
        ValueError: if a number is none, or the parameter file is missing or has parameters of other nodes alone.
        RuntimeError: if RViz is asked for and not installed.
    """
    for name, is_positive in _NUMBERS.items():
        if name in values:
            _check_number(name, values[name], is_positive)
    file = values.get("params_file", "")
    if file:
        if not Path(file).is_file():
            raise ValueError(f"params_file:={file}: no such file; expected a YAML file with parameters of the node")
        namespace = values.get("namespace", "").strip("/")
        refuse_files_for_other_nodes([Path(file)], f"/{namespace}/{node}" if namespace else f"/{node}")
    if is_true(values.get("rviz", "false")):
        rviz_executable()


def _check_number(name: str, value: str, is_positive: bool) -> None:
    expected = "a number above 0" if is_positive else "a number of at least 0"
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError(f"{name}:={value}: expected {expected}") from error
    if not (number > 0.0 if is_positive else number >= 0.0) or number == float("inf"):
        raise ValueError(f"{name}:={value}: expected {expected}")
