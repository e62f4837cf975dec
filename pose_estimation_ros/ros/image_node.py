"""What nodes that process images have in common: their life cycle, their worker, and what they do about errors."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from pose_estimation_ros.ros.announcements import Announcements
from pose_estimation_ros.ros.cuda_errors import cuda_is_lost, is_out_of_memory, release_cached_memory
from pose_estimation_ros.ros.diagnostics import Problem, Problems, Statistics, exception_kind
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
        self._cuda_is_lost = False
        self._cuda_guard = self.create_guard_condition(self._on_cuda_lost)  # from the worker's thread to the node's

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

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the subscriptions, finish the image in work, delete the markers."""
        self._stop()
        return TransitionCallbackReturn.ERROR if self._cuda_is_lost else super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self.release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything and go back to unconfigured, or to finalized where only a new process has CUDA again."""
        self.release()
        return TransitionCallbackReturn.FAILURE if self._cuda_is_lost else super().on_error(state)

    @abstractmethod
    def release(self) -> None:
        """Stop the worker and free the networks, in any state."""

    @abstractmethod
    def publish_diagnostics(self) -> None:
        """Publish one status on /diagnostics."""

    @abstractmethod
    def _stop(self) -> None:
        """Take no more images, finish the one in work, and delete the markers."""

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
        if self._cuda_is_lost:
            return  # nothing else matters any more
        if problem is None:
            self._problems.clear()
        elif self._problems.report(problem):
            self.get_logger().error(problem.text)

    def _not_configured(self, error: Exception) -> TransitionCallbackReturn:
        """Say why the node stays unconfigured: whatever is wrong with a bundle, the node lives, unless CUDA is lost."""
        if self._has_lost_cuda(error):
            return TransitionCallbackReturn.ERROR
        self._complain(Problem("configure", f"not configured: {str(error) or type(error).__name__}"))
        self.publish_diagnostics()
        return TransitionCallbackReturn.FAILURE

    def _on_image_error(self, error: Exception) -> None:
        """Count an image in work on which an exception was raised, and say so; called in the worker's thread."""
        if not self.context.ok():
            return
        self._statistics.refused()
        if self._has_lost_cuda(error):
            self._cuda_guard.trigger()
            return
        if is_out_of_memory(error):
            release_cached_memory(error)
        text = f"{type(error).__name__} while processing an image: {error}"
        self._complain(Problem(exception_kind(error), text))

    def _has_lost_cuda(self, error: Exception) -> bool:
        """Tell whether CUDA is unusable after an error; if so remember it and say so."""
        if cuda_is_lost(error):
            self._cuda_is_lost = True
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            problem = Problem("cuda", f"CUDA is unusable until the node is started again: {first_line}")
            if self._problems.report(problem):
                self.get_logger().fatal(problem.text)
        return self._cuda_is_lost

    def _on_cuda_lost(self) -> None:
        if self.state == "active":
            self.trigger_deactivate()  # ends in on_error
        self.publish_diagnostics()

    def _collect_garbage(self) -> None:
        """Give the memory of what is no longer in force back, the GPU's too."""
        gc.collect()
        if not self._cuda_is_lost:
            release_cached_memory()
