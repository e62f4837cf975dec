"""What soak.py works with: the node, the camera and the consumer as processes, and a bundle that is fast."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter as RclpyParameter
from soak_observer import NODE, Observer
from soak_peers import BAD

from pose_estimation_ros.objects.bundle import find_bundle
from pose_estimation_ros.ros.parent_process import VARIABLE as ENDS_WITH

ANSWER_S = 300.0  # a start on a very busy machine
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
WAYS = {"unconfigured": CONFIGURE, "inactive": ACTIVATE}  # to the state active

DETECTOR_SIZE_PX = 192  # of the light bundle
SETTINGS = {
    "backend": "heatmaps",
    "second_looks.enabled": "false",
    "verification.enabled": "false",
    "diagnostics_period_s": "0.2",
}


def light_bundle(folder: Path) -> Path:
    """Copy the demo bundle, with a detector that looks at smaller images."""
    target = folder / "light"
    shutil.copytree(find_bundle("demo"), target, ignore=shutil.ignore_patterns("sequence"))
    file = target / "bundle.yaml"
    content = yaml.safe_load(file.read_text())
    content["networks"]["detector"]["input_size"] = DETECTOR_SIZE_PX
    file.write_text(yaml.safe_dump(content))
    return target


def commands(bundle: Path, hz: float, width: int, height: int, node_prefix: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the commands of the processes; that of the node behind a prefix that takes it elsewhere."""
    peers = [sys.executable, str(Path(__file__).with_name("soak_peers.py"))]
    parameters = [word for name, value in SETTINGS.items() for word in ("-p", f"{name}:={value}")]
    node = [sys.executable, "-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", f"bundle:={bundle}", *parameters]
    return {
        "node": [*node_prefix, *node],
        "camera": [*peers, "camera", "--hz", str(hz), "--width", str(width), "--height", str(height)],
        "consumer": [*peers, "consumer"],
    }


class SoakError(RuntimeError):
    """The node did what it must not do, or nothing."""


@dataclass
class Bench:
    """The node, the camera and the consumer as processes, and what is seen of them."""

    observer: Observer
    commands: dict[str, list[str]]  # of the processes, by name
    bundle: Path
    log: Path  # of the node's standard error
    random: random.Random
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)  # stamps of images that must give no poses
    sent: int = 0  # images
    newest_ns: int = 0  # stamp of the last one
    clients: dict[str, Any] = field(default_factory=dict)  # of the node's services
    is_ours: set[int] = field(default_factory=set)  # processes that a fault ended
    start_s: float | None = None  # that the present fault took the node to start, or to load its bundle

    def start(self, name: str) -> None:
        """Start a process, or start it again."""
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                stdin=subprocess.DEVNULL if name == "node" else subprocess.PIPE,
                stdout=subprocess.PIPE if name == "camera" else log,
                stderr=log,
                text=True,
                env={**os.environ, ENDS_WITH: str(os.getpid())},  # the node; nothing is left of a soak that is killed
            )
        if name == "node":
            self.observer.new_process()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """End a process with a signal; return its exit code."""
        process = self.processes[name]
        self.is_ours.add(process.pid)
        process.send_signal(number)
        return process.wait(ANSWER_S)

    def wait_until_active(self) -> None:
        """Wait until the node that was just started says that it is active, and note how long that took."""
        begin_s = time.monotonic()
        while self.observer.state != "active":
            if time.monotonic() > begin_s + ANSWER_S:
                raise SoakError(f"not active after {ANSWER_S:g} s: {self.observer.message}")
            time.sleep(0.01)
        self.start_s = time.monotonic() - begin_s

    def read_camera(self, process: subprocess.Popen) -> None:
        """Note what a camera says that it published; runs in a thread of its own until the camera is gone."""
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if len(words) == 2:  # the last line of a camera that was killed may be half
                self.sent, self.newest_ns = self.sent + 1, int(words[0])
                if words[1] == BAD:
                    self.refused.add(int(words[0]))

    def camera_mode(self, mode: str) -> None:
        """Have the camera do as the mode says."""
        stdin = self.processes["camera"].stdin
        assert stdin is not None
        stdin.write(f"{mode}\n")
        stdin.flush()

    def call(self, service_type: type, name: str, request: Any) -> Any:
        """Call a service of the node and return its answer."""
        if name not in self.clients:
            self.clients[name] = self.observer.node.create_client(service_type, f"{NODE}/{name}")
        client = self.clients[name]
        if not client.wait_for_service(ANSWER_S):
            raise SoakError(f"{name}: no such service after {ANSWER_S:g} s")
        future, end_s = client.call_async(request), time.monotonic() + ANSWER_S
        while not future.done():
            if time.monotonic() > end_s:
                raise SoakError(f"{name}: no answer after {ANSWER_S:g} s")
            time.sleep(0.005)
        return future.result()

    def change_state(self, transition: int) -> bool:
        """Ask for a transition; tell whether it was made."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        """Return the state of the node's lifecycle."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def activate(self) -> None:
        """Bring the node from any state to active."""
        for _ in range(4):
            state = self.state()
            if state == "active":
                return
            if state in WAYS:
                self.change_state(WAYS[state])
        raise SoakError(f"the node stays {self.state()}: {self.observer.message}")

    def set_parameters(self, **values: Any) -> bool:
        """Set parameters; tell whether the node took them."""
        items: list[Parameter] = [
            RclpyParameter(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=items)
        return bool(self.call(SetParametersAtomically, "set_parameters_atomically", request).result.successful)
