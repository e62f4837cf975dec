"""What a recorder has seen of a pose node, by image stamp, as JSON and as a table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pose_estimation_ros.ros.ecosystem import matrix_from_quaternion
from pose_estimation_ros.ros.messages import stamp_to_ns


def matrix_of(position: Any, orientation: Any) -> list[list[float]]:
    """Return a 4x4 transform as nested lists from a position and a quaternion message."""
    matrix = matrix_from_quaternion((orientation.x, orientation.y, orientation.z, orientation.w))
    matrix[:3, 3] = (position.x, position.y, position.z)
    return matrix.tolist()


@dataclass
class Recording:
    """Collect detections, transforms, camera stamps and diagnostics; times in nanoseconds."""

    node_name: str = "pose_estimation"
    frames: dict[int, dict[str, Any]] = field(default_factory=dict)
    camera_stamps_ns: list[int] = field(default_factory=list)
    diagnostics: list[dict[str, Any]] = field(default_factory=list)

    def _frame(self, stamp_ns: int) -> dict[str, Any]:
        empty: dict[str, Any] = {"receive_ns": None, "objects": [], "tf_receive_ns": None, "transforms": {}}
        return self.frames.setdefault(stamp_ns, {"stamp_ns": stamp_ns, **empty})

    def add_detections(self, message: Any, receive_ns: int) -> None:
        """Take a Detection3DArray."""
        frame = self._frame(stamp_to_ns(message.header.stamp))
        frame["receive_ns"] = receive_ns
        for item in message.detections:
            result = item.results[0]
            frame["objects"].append(
                {
                    "class": result.hypothesis.class_id,
                    "frame": item.id,
                    "score": result.hypothesis.score,
                    "camera_from_object": matrix_of(result.pose.pose.position, result.pose.pose.orientation),
                }
            )

    def add_tf(self, message: Any, receive_ns: int) -> None:
        """Take a TFMessage; of the objects' own frames, which are children of the objects', nothing is kept."""
        sent = {item.child_frame_id for item in message.transforms}
        for item in message.transforms:
            if item.header.frame_id in sent:
                continue
            frame = self._frame(stamp_to_ns(item.header.stamp))
            frame["tf_receive_ns"] = frame["tf_receive_ns"] or receive_ns
            frame["transforms"][item.child_frame_id] = matrix_of(item.transform.translation, item.transform.rotation)

    def add_camera_info(self, message: Any) -> None:
        """Take a CameraInfo: an image was sent."""
        self.camera_stamps_ns.append(stamp_to_ns(message.header.stamp))

    def add_diagnostics(self, message: Any, receive_ns: int) -> None:
        """Take a DiagnosticArray; statuses of other nodes are left out."""
        for status in message.status:
            if status.name.rsplit("/", 1)[-1] == self.node_name:
                values = {item.key: item.value for item in status.values}
                level = int.from_bytes(status.level, "little")
                self.diagnostics.append(
                    {"receive_ns": receive_ns, "level": level, "message": status.message, "values": values}
                )

    def as_json(self) -> dict[str, Any]:
        """Return everything in plain types, frames in the order of their stamps."""
        return {
            "frames": [self.frames[stamp_ns] for stamp_ns in sorted(self.frames)],
            "camera_stamps_ns": self.camera_stamps_ns,
            "diagnostics": self.diagnostics,
        }

    def table(self) -> str:
        """Return the newest frame and the node's figures as lines for a terminal."""
        evaluated = [frame for frame in self.frames.values() if frame["receive_ns"] is not None]
        values = self.diagnostics[-1]["values"] if self.diagnostics else {}
        lines = [
            f"images {len(self.camera_stamps_ns):5d}   frames {len(evaluated):5d}   "
            f"dropped {values.get('frames_dropped', '-'):>4}   fps {values.get('fps') or '-':>6}   "
            f"latency {values.get('latency_ms_p50') or '-':>7} ms   overhead {values.get('overhead_ms') or '-':>5} ms"
        ]
        if self.diagnostics and self.diagnostics[-1]["level"]:
            lines.append(f"  ! {self.diagnostics[-1]['message']}")
        if evaluated:
            newest = max(evaluated, key=lambda frame: frame["stamp_ns"])
            for item in newest["objects"]:
                x, y, z = (row[3] for row in item["camera_from_object"][:3])
                lines.append(f"  {item['frame']:<20} score {item['score']:.2f}   x {x:+.3f}  y {y:+.3f}  z {z:.3f} m")
        return "\n".join(lines)
