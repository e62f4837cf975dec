"""Frames of ours that somebody else sends, too: tf2 would mix two poses, or two parents, of one frame."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.ros.messages import stamp_to_ns

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node

TOPIC = "/tf"
REMEMBERED_S = 5.0  # a collision counts for so long after it was last seen
_Key = tuple[str, str, int]  # child, parent, stamp in nanoseconds


class SentFrames:
    """Tell transforms that were sent from here from those of others; safe to use from several threads.

    Args:
        memory: number of transforms that are remembered.
    """

    def __init__(self, memory: int = 5000) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._awaited: OrderedDict[_Key, int] = OrderedDict()  # how often each was sent and not yet seen
        self._names: set[str] = set()

    def sent(self, transforms: Sequence[TransformStamped]) -> None:
        """Remember transforms that are about to be sent."""
        with self._lock:
            for item in transforms:
                self._awaited[_key(item)] = self._awaited.get(_key(item), 0) + 1
                self._names.add(item.child_frame_id)
            while len(self._awaited) > self._memory:
                self._awaited.popitem(last=False)

    def may_hold_ours(self, data: bytes) -> bool:
        """Tell whether a serialized message may name a frame of ours, without the cost of reading it."""
        with self._lock:
            return any(name.encode() + b"\0" in data for name in self._names)

    def foreign(self, transforms: Sequence[TransformStamped]) -> list[str]:
        """Return the frames of ours among transforms that were seen and not sent from here."""
        found = []
        with self._lock:
            for item in transforms:
                if item.child_frame_id not in self._names:
                    continue
                left = self._awaited.get(_key(item), 0)
                if left:
                    self._awaited[_key(item)] = left - 1  # stays, at 0: a second one is another's
                else:
                    found.append(item.child_frame_id)
        return found


def _key(item: TransformStamped) -> _Key:
    return item.child_frame_id, item.header.frame_id, stamp_to_ns(item.header.stamp)


class FrameCollisions:
    """Listen to /tf, and warn once of every frame that somebody else sends, too.

    Args:
        node: which sends them.
        clock: seconds, monotonic.
    """

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._clock = node, clock
        self._sent = SentFrames()
        self._warned: set[str] = set()
        self._last: tuple[float, str] | None = None  # when, and what
        qos = QoSProfile(depth=100)  # reliable, as tf2 listens
        self._subscription = node.create_subscription(TFMessage, TOPIC, self._on_tf, qos, raw=True)

    def sent(self, transforms: Sequence[TransformStamped]) -> None:
        """Remember transforms that are about to be sent."""
        self._sent.sent(transforms)

    @property
    def problem(self) -> str:
        """What collides now, in one sentence; empty when nothing does."""
        last = self._last
        return last[1] if last is not None and self._clock() - last[0] < REMEMBERED_S else ""

    def destroy(self) -> None:
        """Listen no longer."""
        self._node.destroy_subscription(self._subscription)

    def _on_tf(self, data: bytes) -> None:
        if not self._sent.may_hold_ours(data):
            return
        found = self._sent.foreign(deserialize_message(data, TFMessage).transforms)
        if not found:
            return
        text = f"frame {found[0]!r} on {TOPIC} is sent by another node, too ({self._others()}): set frame_prefix"
        self._last = self._clock(), text
        if not self._warned.issuperset(found):
            self._warned.update(found)
            self._node.get_logger().warning(text)

    def _others(self) -> str:
        own = self._node.get_fully_qualified_name()
        infos = self._node.get_publishers_info_by_topic(TOPIC)
        names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]
        return f"publishers: {', '.join(sorted({name for name in names if name != own})) or 'none by now'}"
