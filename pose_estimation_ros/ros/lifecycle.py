"""Lifecycle requests that do not fit: they are answered, and the node lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


def refuse_unfitting_transitions(node: LifecycleNode) -> None:
    """Answer `success = false` to a transition that the node's state does not have; rclpy alone ends the process.

    A lifecycle manager beside `autostart: true` asks for such transitions.
    """
    for service in node.services:
        if service.srv_type is ChangeState:
            service.callback = _guarded(node, service.callback)


def _guarded(node: LifecycleNode, change_state: Callable[..., Any]) -> Callable[..., ChangeState.Response]:
    def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except rclpy_implementation.RCLError as error:  # raised before anything is changed
            wanted = request.transition.label or f"transition {request.transition.id}"
            first_line = str(error).splitlines()[0]
            node.get_logger().warning(f"lifecycle request {wanted!r} refused, the state stays: {first_line}")
            response.success = False
            return response

    return answer
