"""The panel beside the 3D view: how the node is, its tracks, what is shown, and its buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from viser import ViserServer

from pose_estimation_ros.ros.view.content import NodeStatus, ViewedObject
from pose_estimation_ros.ros.view.scene import LAYERS, PoseScene

Answer = Callable[[str], None]
THRESHOLDS = {
    "detector.score_threshold": 0.0,
    "pose.score_threshold": -1.0,
}  # with a slider, and its least
_LEVELS = ("OK", "WARN", "ERROR", "STALE")
_SHOWN = {"fps": "frames a second", "latency_ms_p50": "latency [ms]", "frames_dropped": "dropped"}
_LAST = 100.0  # order of what stands at the end of the panel


class NodeControls(Protocol):
    """What the buttons do. An answer, good or bad, comes later and from any thread."""

    def set_enabled(self, enabled: bool, answer: Answer) -> None:
        """Let the node work, or pause it."""

    def reset_tracks(self, answer: Answer) -> None:
        """Forget all tracks."""

    def detect(self, answer: Answer) -> None:
        """Have the next image looked at."""

    def set_parameter(self, name: str, value: float, answer: Answer) -> None:
        """Change a parameter of the node."""


class Panel:
    """Status, table of tracks and layers; the node's buttons where `add_controls` puts them.

    Args:
        server: whose panel it is.
        scene: whose layers it shows and hides.
    """

    def __init__(self, server: ViserServer, scene: PoseScene) -> None:
        self._server = server
        self._status: NodeStatus | None = None
        self._objects: Sequence[ViewedObject] = ()
        self._state = server.gui.add_markdown("Nothing was heard yet.")
        self._table = server.gui.add_markdown("")
        self._sliders: dict[str, Any] = {}
        with server.gui.add_folder("Show", order=_LAST):
            for layer in LAYERS:
                self._add_layer(layer, scene)

    def _add_layer(self, layer: str, scene: PoseScene) -> None:
        box = self._server.gui.add_checkbox(layer, True)
        box.on_update(lambda _: scene.set_visible(layer, box.value))

    def add_controls(self, controls: NodeControls) -> None:
        """Add buttons and sliders of a node that runs."""
        gui = self._server.gui
        with gui.add_folder("Node"):
            buttons: dict[str, Callable[[Answer], None]] = {
                "Enable": lambda answer: controls.set_enabled(True, answer),
                "Pause": lambda answer: controls.set_enabled(False, answer),
                "Reset tracks": controls.reset_tracks,
                "Detect": controls.detect,
            }
            for label, action in buttons.items():
                self._add_button(label, action)
            for name, least in THRESHOLDS.items():
                self._add_slider(name, least, controls)
            self._answer = gui.add_markdown("")

    def _add_button(self, label: str, action: Callable[[Answer], None]) -> None:
        self._server.gui.add_button(label).on_click(lambda _: action(self.tell))

    def _add_slider(self, name: str, least: float, controls: NodeControls) -> None:
        """Add a slider that waits for the node's value."""
        hint = "below 0 the node decides" if least < 0.0 else None
        slider = self._server.gui.add_slider(name, least, 1.0, 0.01, least, disabled=True, hint=hint)
        self._sliders[name] = slider

        def change(event: Any) -> None:
            if event.client is not None:  # somebody moved it, not show_parameter
                controls.set_parameter(name, float(slider.value), self.tell)

        slider.on_update(change)

    def show_parameter(self, name: str, value: float) -> None:
        """Set a slider to the value that is in force."""
        self._sliders[name].value = min(max(float(value), THRESHOLDS[name]), 1.0)
        self._sliders[name].disabled = False

    def tell(self, text: str) -> None:
        """Show the answer to the last button."""
        self._answer.content = text

    def show_status(self, status: NodeStatus) -> None:
        """Show what the node says of itself."""
        self._status = status
        figures = [f"{words} **{status.values[key]}**" for key, words in _SHOWN.items() if status.values.get(key)]
        setup = [status.values[key] for key in ("backend", "refiner", "device") if status.values.get(key)]
        lines = [f"**{_LEVELS[status.level]}** {status.message}", " · ".join(figures), " · ".join(setup)]
        self._state.content = "\n\n".join(line for line in lines if line)
        self._show_table()

    def show_objects(self, objects: Sequence[ViewedObject]) -> None:
        """Show the instances of the newest frame."""
        self._objects = objects
        self._show_table()

    def _show_table(self) -> None:
        rows = ["| frame | score | x | y | z [mm] | state |", "|---|--:|--:|--:|--:|---|"]
        for item in sorted(self._objects, key=lambda found: found.frame):
            position = " | ".join(f"{1000.0 * value:.0f}" for value in item.camera_from_object[:3, 3])
            state = "" if self._status is None else self._status.track_values(item.frame).get("state", "")
            rows.append(f"| {item.frame} | {item.score:.2f} | {position} | {state} |")
        self._table.content = "\n".join(rows) if self._objects else "No object."
