"""ROS messages in MCAP files, readable by Foxglove, Rerun, PlotJuggler and `ros2 bag`. Reading needs no ROS."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

_SEPARATOR = "=" * 80
_PRIMITIVES = re.compile(r"bool|byte|char|float(32|64)|u?int(8|16|32|64)|w?string")


def message_definition(type_name: str) -> str:
    """Return the text of a message type and of all types it contains, as MCAP schemas have it.

    Args:
        type_name: such as `sensor_msgs/msg/Image`.

    Raises:
        FileNotFoundError: if the .msg file of a type is not installed.
    """
    package, _, name = type_name.split("/")
    definition, pending, known = _read_definition(package, name), [], {f"{package}/{name}"}
    pending += _types_in(definition, package)
    while pending:
        inner = pending.pop(0)
        if inner in known:
            continue
        known.add(inner)
        inner_package, inner_name = inner.split("/")
        text = _read_definition(inner_package, inner_name)
        definition += f"\n{_SEPARATOR}\nMSG: {inner}\n{text}"
        pending += _types_in(text, inner_package)
    return definition


def _read_definition(package: str, name: str) -> str:
    from ament_index_python.packages import get_package_share_path

    try:
        return (get_package_share_path(package) / "msg" / f"{name}.msg").read_text()
    except (LookupError, OSError) as error:  # no such package, no such file, no AMENT_PREFIX_PATH
        text = f"share/{package}/msg/{name}.msg: not found in AMENT_PREFIX_PATH; source scripts/env.sh"
        raise FileNotFoundError(text) from error


def _types_in(definition: str, package: str) -> list[str]:
    """Return the message types that the fields of a definition have, as package/Name."""
    types = []
    for line in definition.splitlines():
        match = re.match(r"\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+", line.split("#")[0])
        if match is None or _PRIMITIVES.fullmatch(match.group(1)):
            continue
        name = match.group(1)
        types.append(name if "/" in name else f"{package}/{name}")
    return types


class BagWriter:
    """Write serialized ROS messages into an MCAP file, zstd-compressed in chunks."""

    def __init__(self, path: Path) -> None:
        from mcap.writer import Writer

        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._writer = Writer(self._file)
        self._writer.start(profile="ros2", library="pose_estimation_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._sequence: dict[str, int] = {}

    def add_topic(self, topic: str, type_name: str) -> None:
        """Announce a topic of a type such as `sensor_msgs/msg/Image`."""
        from mcap.well_known import MessageEncoding, SchemaEncoding

        if type_name not in self._schemas:
            text = message_definition(type_name).encode()
            self._schemas[type_name] = self._writer.register_schema(type_name, SchemaEncoding.ROS2, text)
        self._channels[topic] = self._writer.register_channel(
            topic, MessageEncoding.CDR, self._schemas[type_name], metadata={"offered_qos_profiles": ""}
        )

    def write(self, topic: str, serialized: bytes, log_time_ns: int) -> None:
        """Write one message as rclpy serializes it."""
        self._sequence[topic] = self._sequence.get(topic, 0) + 1
        self._writer.add_message(
            channel_id=self._channels[topic],
            log_time=log_time_ns,
            publish_time=log_time_ns,
            sequence=self._sequence[topic],
            data=serialized,
        )

    def close(self) -> None:
        """Write index and footer; without them the file is damaged."""
        self._writer.finish()
        self._file.close()


def read_messages(
    path: Path, topics: Collection[str] | None = None, start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[tuple[str, int, Any]]:
    """Yield topic, log time in ns and decoded message, in the order of time, from `start_ns` to before `end_ns`."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with Path(path).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages(topics, start_ns, end_ns):
            yield channel.topic, message.log_time, decoded
