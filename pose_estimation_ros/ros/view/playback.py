"""The page of a recording: an MCAP file of pose_record or `ros2 bag`, with a slider over its frames."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from viser import ViserServer

from pose_estimation_ros.ros.view.viewer import Viewer

_LOOK_BACK_NS = 2_000_000_000  # how old the image and the status beside a frame may be
_SETTLE_NS = 100_000_000  # markers and TF of a frame are recorded a little after its detections
_LONGEST_WAIT_S = 1.0  # gaps in a recording are cut


def kind_of(topic: str, node: str) -> str | None:
    """Return which message of Viewer's KINDS a recorded topic has, None for those that are not shown."""
    fixed = {"/tf": "tf", "/diagnostics": "diagnostics"}
    if topic in fixed:
        return fixed[topic]
    name = topic.rsplit("/", 1)[-1]
    if f"/{node.strip('/')}/" in topic:
        return name if name in {"detections", "markers"} else None
    endings = {"image": "image", "image_raw": "image", "image_rect": "image", "compressed": "compressed"}
    return "camera_info" if name == "camera_info" else endings.get(name)


class Playback:
    """Show frames of an MCAP file.

    Args:
        path: the file.
        server: of the page; gets a slider and a button.
        viewer: the page.
        node: name of the pose node whose topics are shown.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no MCAP file, or has no detections of the node.
    """

    def __init__(self, path: Path, server: ViserServer, viewer: Viewer, node: str) -> None:
        self._path, self._viewer, self._node = path, viewer, node
        self._topics, self.times_ns = self._index()
        self._index_now = -1
        self._lock = threading.Lock()
        with server.gui.add_folder("Recording"):
            self._slider: Any = server.gui.add_slider("frame", 0, len(self.times_ns) - 1, 1, 0)
            self._plays = server.gui.add_checkbox("play", True)
        self._slider.on_update(lambda _: self.show(int(self._slider.value)))
        self.show(0)

    def _index(self) -> tuple[dict[str, str], list[int]]:
        from mcap.exceptions import McapError
        from mcap.reader import make_reader

        try:
            with self._path.open("rb") as file:
                summary = make_reader(file).get_summary()
                known = [] if summary is None else [channel.topic for channel in summary.channels.values()]
                kinds = {topic: kind_of(topic, self._node) for topic in known}
                topics = {topic: kind for topic, kind in kinds.items() if kind is not None}
                wanted = [topic for topic, kind in topics.items() if kind == "detections"]
                if len(wanted) > 1:
                    raise ValueError(f"{self._path}: several nodes, {', '.join(sorted(wanted))}: name one with --node")
                messages = make_reader(file).iter_messages(wanted) if wanted else ()
                times = [message.log_time for _, _, message in messages]
        except McapError as error:
            raise ValueError(f"{self._path}: no whole MCAP file: {error}") from error
        if not times:
            raise ValueError(
                f"{self._path}: no message on {self._node}/detections; it has {', '.join(sorted(known)) or 'no topic'}"
            )
        return topics, times

    def show(self, index: int) -> None:
        """Show frame `index`; from the one before it, only what has come since is read."""
        with self._lock:
            if index == self._index_now:
                return
            follows = index == self._index_now + 1 and index > 0
            end_ns = self.times_ns[index] + _SETTLE_NS
            if index + 1 < len(self.times_ns):
                end_ns = min(end_ns, self.times_ns[index + 1])
            start_ns = self.times_ns[index - 1] if follows else max(self.times_ns[index] - _LOOK_BACK_NS, 0)
            if not follows:
                self._viewer.clear()
            newest: dict[str, Any] = {}
            for topic, _, message in self._messages(start_ns, end_ns):
                newest[self._topics[topic]] = message
            for kind in ("camera_info", "image", "compressed", "markers", "detections", "tf", "diagnostics"):
                if kind in newest:
                    self._viewer.take(kind, newest[kind])
            self._index_now = index

    def _messages(self, start_ns: int, end_ns: int) -> Any:
        from pose_estimation_ros.ros.bag import read_messages

        return read_messages(self._path, list(self._topics), start_ns, end_ns)

    def run(self) -> None:
        """Play, from wherever the slider is, until an interrupt; begin again after the last frame."""
        while True:
            index = self._index_now
            following = (index + 1) % len(self.times_ns)
            wait_s = (self.times_ns[following] - self.times_ns[index]) / 1e9
            time.sleep(min(max(wait_s, 0.02), _LONGEST_WAIT_S))
            if self._plays.value and index == self._index_now:
                self._slider.value = following
                self.show(following)
