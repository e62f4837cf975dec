"""What soak.py does to the node and those about it. Every fault returns the stamp (ns) from which results must come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from soak_bench import ACTIVATE, ANSWER_S, CLEANUP, CONFIGURE, DEACTIVATE, Bench, SoakError
from std_srvs.srv import SetBool, Trigger

HOLD_S = 3.0  # that a camera misbehaves


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
    bench.wait_until_active()
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
    bench.wait_until_active()
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
    begin_s = time.monotonic()
    bench.activate()
    bench.start_s = time.monotonic() - begin_s
    return time.time_ns()


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
