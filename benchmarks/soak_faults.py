"""What soak.py does to the node and those about it. Every fault returns the stamp (ns) from which results must come."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter as RclpyParameter
from soak_observer import NODE, Observer
from soak_peers import BAD
from std_srvs.srv import SetBool, Trigger

ANSWER_S = 300.0  # a start on a very busy machine
HOLD_S = 3.0  # that a camera misbehaves
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
WAYS = {"unconfigured": CONFIGURE, "inactive": ACTIVATE}  # to the state active


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

    def start(self, name: str) -> None:
        """Start a process, or start it again."""
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                stdin=subprocess.PIPE if name == "camera" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "camera" else log,
                stderr=log,
                text=True,
            )
        if name == "node":
            self.observer.new_process()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """End a process with a signal; return its exit code."""
        process = self.processes[name]
        self.is_ours.add(process.pid)
        process.send_signal(number)
        return process.wait(ANSWER_S)

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


def _misbehave(mode: str) -> Callable[[Bench], int]:
    def fault(bench: Bench) -> int:
        bench.camera_mode(mode)
        time.sleep(HOLD_S)
        bench.camera_mode("good")
        return time.time_ns()

    return fault


def _continue(mode: str) -> Callable[[Bench], int]:
    """Have the camera do something during which poses must go on coming."""

    def fault(bench: Bench) -> int:
        bench.camera_mode(mode)
        begin_ns = time.time_ns()
        if bench.observer.first_result_after(begin_ns, ANSWER_S) is None:
            raise SoakError(f"{mode}: no result")
        bench.camera_mode("good")
        return begin_ns

    return fault


def camera_killed(bench: Bench) -> int:
    """Kill the camera and start it again; from its first image on results must come."""
    bench.kill("camera")
    time.sleep(0.5)  # its last words
    newest_ns, end_s = bench.newest_ns, time.monotonic() + ANSWER_S
    bench.start("camera")
    while bench.newest_ns == newest_ns:
        if time.monotonic() > end_s:
            raise SoakError(f"no camera after {ANSWER_S:g} s")
        time.sleep(0.01)
    return bench.newest_ns


def consumer_killed(bench: Bench) -> int:
    """Kill the consumer and start it again; results must go on."""
    begin_ns = time.time_ns()
    bench.kill("consumer")
    bench.start("consumer")
    return begin_ns


def node_killed(bench: Bench) -> int:
    """Kill the node and start it again, as launch does with respawn."""
    bench.kill("node")
    bench.start("node")
    return time.time_ns()


def node_signalled(bench: Bench) -> int:
    """End the node with SIGINT or SIGTERM at work, and then at any moment of its start; it must end with code 0."""
    for delay_s in (bench.random.uniform(0.0, 5.0), 0.0):
        number = bench.random.choice([signal.SIGINT, signal.SIGTERM])
        code = bench.kill("node", number)
        if code != 0:
            raise SoakError(f"{number.name}: exit code {code}, expected 0")
        bench.start("node")
        if delay_s:
            _wait_for_first_line(bench.processes["node"].pid)
            time.sleep(delay_s)
    return time.time_ns()


def _wait_for_first_line(process: int) -> None:
    """Wait until a process catches SIGTERM; before that it is the interpreter's."""
    end_s = time.monotonic() + ANSWER_S
    while time.monotonic() < end_s:
        status = Path(f"/proc/{process}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise SoakError(f"the node does not begin within {ANSWER_S:g} s")


def node_stopped(bench: Bench) -> int:
    """Let the node stand still for a while."""
    os.kill(bench.processes["node"].pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(bench.processes["node"].pid, signal.SIGCONT)
    return time.time_ns()


def bundle_moved(bench: Bench) -> int:
    """Move the bundle away: a reload fails and changes nothing, the node cannot be configured and says why."""
    away = bench.bundle.with_name("away")
    bench.bundle.rename(away)
    answer = bench.call(Trigger, "reload", Trigger.Request())
    if answer.success or "no bundle.yaml" not in answer.message:
        raise SoakError(f"reload without a bundle: {answer.message}")
    if bench.observer.first_result_after(time.time_ns(), ANSWER_S) is None:
        raise SoakError("no results after a reload that failed")
    bench.change_state(DEACTIVATE)
    bench.change_state(CLEANUP)
    if bench.change_state(CONFIGURE):
        raise SoakError("configured without a bundle")
    away.rename(bench.bundle)
    over_ns = time.time_ns()
    bench.activate()
    return over_ns


def parameters(bench: Bench) -> int:
    """Set parameters, good and bad ones, at random."""
    begin_ns = time.time_ns()
    for _ in range(20):
        threshold = bench.random.uniform(-0.5, 1.5)
        taken = bench.set_parameters(detector__score_threshold=threshold)
        if taken != (0.0 <= threshold <= 1.0):
            raise SoakError(f"detector.score_threshold = {threshold}: {'taken' if taken else 'refused'}")
        for name, value in (("objects", ["nothing"]), ("bundle", "demo"), ("bakend", "nemo")):
            if bench.set_parameters(**{name: value}):
                raise SoakError(f"{name} = {value}: taken")
        bench.set_parameters(publish_tf=bench.random.random() < 0.5, objects=bench.random.choice([["mug"], ["bottle"]]))
    bench.set_parameters(detector__score_threshold=0.5, publish_tf=True, objects=["mug", "bottle", "duckling"])
    return begin_ns


def lifecycle(bench: Bench) -> int:
    """Ask for transitions at random, those that do not fit and unknown ones, too; not for shutdown, which is an end."""
    for _ in range(15):
        bench.change_state(bench.random.choice([0, CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, 10, 62, 99, 255]))
    bench.activate()
    return time.time_ns()


def paused(bench: Bench) -> int:
    """Pause the node for a while."""
    for data in (False, True):
        bench.call(SetBool, "enable", SetBool.Request(data=data))
        if not data:
            time.sleep(1.0)
    return time.time_ns()


def disk_full(bench: Bench) -> int:
    """Record to a disk that is full: the recorder ends and says why, the node goes on."""
    begin_ns = time.time_ns()
    command = [sys.executable, "-m", "pose_estimation_ros.ros.record_node", "--mcap", "/dev/full", "--duration", "20"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    if ended.returncode != 2 or "No space left on device" not in ended.stderr or "Traceback" in ended.stderr:
        raise SoakError(f"pose_record on a full disk: exit code {ended.returncode}: {ended.stderr[-300:]}")
    return begin_ns


RESTARTS: dict[str, Callable[[Bench], int]] = {"node_killed": node_killed, "node_signalled": node_signalled}
FAULTS: dict[str, Callable[[Bench], int]] = {
    "camera_killed": camera_killed,
    "consumer_killed": consumer_killed,
    "malformed_images": _misbehave("malformed"),
    "camera_info_absurd": _misbehave("info_absurd"),
    "camera_info_changed": _continue("info_changed"),
    "camera_info_late": _continue("info_late"),
    "bundle_moved": bundle_moved,
    "node_stopped": node_stopped,
    "parameters": parameters,
    "lifecycle": lifecycle,
    "paused": paused,
    "disk_full": disk_full,
}
