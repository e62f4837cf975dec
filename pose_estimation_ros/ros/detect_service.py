"""The service `~/detect`: take the next image, and answer when its poses are out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from pose_estimation_ros.node_settings import ON_DEMAND
from pose_estimation_ros.ros.announcements import absence
from pose_estimation_ros.ros.detect_calls import DetectCalls
from pose_estimation_ros.ros.inputs import Inputs

if TYPE_CHECKING:
    from rclpy.node import Node


class DetectService:
    """Let calls wait for the next image and, where images are taken on demand alone, subscribe for them.

    Args:
        node: owner of the service.
        parameters: the node's parameters by name.
        refusal: says why no image would be processed now; empty where one would.
    """

    def __init__(self, node: Node, parameters: Mapping[str, Any], refusal: Callable[[], str]) -> None:
        self._node, self._parameters, self._refusal = node, parameters, refusal
        self._inputs: Inputs | None = None
        self.is_on_demand = parameters["processing"] == ON_DEMAND
        self.calls = DetectCalls(node)
        waiting = ReentrantCallbackGroup()  # everything else goes on while the service waits for its answer
        node.create_service(Trigger, "~/detect", self._on_call, callback_group=waiting)

    def begin(self, inputs: Inputs) -> None:
        """Note where images come from while the node is active."""
        self._inputs = inputs
        if self.is_on_demand:
            self._node.get_logger().info(f"ready for ~/detect, which takes the next image of {inputs.image_topic}")

    def end(self, reason: str) -> None:
        """Answer all who wait: no image comes any more."""
        self._inputs = None
        self.calls.refuse(reason)

    def image_came(self, received_s: float) -> None:
        """Note that an image, received at a time of time.perf_counter(), is on its way to the pipeline."""
        self.calls.image_came(received_s)
        self._close_unwanted()

    def _close_unwanted(self) -> None:
        if self.is_on_demand and self._inputs is not None and not self.calls.want_image:
            self._inputs.close()

    async def _on_call(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._refusal()
        if response.message or self._inputs is None:
            return response
        self._inputs.open()
        timeout_s = self._parameters["detect_timeout_s"]
        response.success, response.message = await self.calls.wait(timeout_s, self._why_late)
        self._close_unwanted()
        return response

    def _why_late(self, has_image: bool) -> str:
        duration = f"within detect_timeout_s = {self._parameters['detect_timeout_s']:g}"
        if has_image or self._inputs is None:
            return f"the image is not done {duration}; its poses will be published"
        return absence(self._node, self._inputs, duration)
