"""What nodes that process images have in common: their life cycle, their worker, and what they say went wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from pose_estimation_ros.ros.announcements import Announcements
from pose_estimation_ros.ros.diagnostics import Problem, Problems, Statistics
from pose_estimation_ros.ros.inputs import Inputs
from pose_estimation_ros.ros.intake import Arrival
from pose_estimation_ros.ros.lifecycle import refuse_unfitting_transitions
from pose_estimation_ros.ros.worker import Worker


class ImageNode(LifecycleNode):
    """A lifecycle node that takes the newest image, and whose worker processes it.

    Args:
        name: of the node.
        stages: of the work on an image, whose times are told on /diagnostics.
        node_arguments: passed on to rclpy's node.
    """

    def __init__(self, name: str, stages: Sequence[str], **node_arguments: Any) -> None:
        super().__init__(name, **node_arguments)
        refuse_unfitting_transitions(self)
        self._statistics, self._problems = Statistics(stages=stages), Problems()
        self._worker: Worker[Arrival] | None = None
        self._inputs: Inputs | None = None
        self._announcements = Announcements(self)
        self._dropped_before = 0

    def _start_timers(self, diagnostics_period_s: float, autostart: bool) -> None:
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when simulated time stands still
        self.create_timer(diagnostics_period_s, self.publish_diagnostics, clock=steady)
        if autostart:
            self._autostart_timer = self.create_timer(0.0, self._on_autostart, clock=steady)

    def _on_autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.state == "unconfigured" and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    @property
    def state(self) -> str:
        """Lifecycle state: unconfigured, inactive, active or finalized."""
        return self._state_machine.current_state[1]

    @property
    def frames_dropped(self) -> int:
        """Images that never came to their turn because a newer one arrived."""
        waiting = (self._worker, self._inputs)
        return self._dropped_before + sum(place.dropped for place in waiting if place is not None)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self.release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything and go back to unconfigured."""
        self.release()
        return super().on_error(state)

    @abstractmethod
    def release(self) -> None:
        """Stop the worker and free the networks, in any state."""

    @abstractmethod
    def publish_diagnostics(self) -> None:
        """Publish one status on /diagnostics."""

    def _stop_images(self) -> None:
        """Drop the subscriptions and finish the image in work."""
        self._announcements.end()
        if self._inputs is not None:
            self._inputs.destroy()
        if self._worker is not None:
            self._worker.stop()
        self._dropped_before = self.frames_dropped
        self._worker = self._inputs = None

    def _complain(self, problem: Problem | None) -> None:
        """Remember what is wrong with the newest image, None for nothing; what is new goes to the console, too."""
        if problem is None:
            self._problems.clear()
        elif self._problems.report(problem):
            self.get_logger().error(problem.text)

    def _not_configured(self, error: Exception) -> TransitionCallbackReturn:
        """Say why the node stays unconfigured: whatever is wrong with a bundle, the node lives."""
        self._complain(Problem("configure", f"not configured: {str(error) or type(error).__name__}"))
        self.publish_diagnostics()
        return TransitionCallbackReturn.FAILURE
