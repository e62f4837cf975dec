"""Processes that end with the launch that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pose_estimation_ros.ros.parent_process import VARIABLE

CHILD = "import time; from pose_estimation_ros.ros.parent_process import end_with_parent; end_with_parent(); {wait}"
PARENT = """
import os, subprocess, sys, time
named = sys.argv[1] if len(sys.argv) > 1 else str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", {child!r}], env={{**os.environ, {variable!r}: named}})
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a parent and its child; return both once the child has begun to wait."""
    child = CHILD.format(wait="print('ready', flush=True); time.sleep(60)")
    code = PARENT.format(child=child, variable=VARIABLE)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    number = int(parent.stdout.readline())
    assert parent.stdout.readline() == "ready\n"
    return parent, number


def test_child_ends_whose_launch_has_ended_before_its_first_line():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=20)
    code = CHILD.format(wait="print('alive')")
    environment = {**os.environ, VARIABLE: str(ended.pid)}
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert (child.returncode, child.stdout) == (-signal.SIGTERM, b"")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_child_ends_when_its_launch_ends(how):
    parent, child = start()
    parent.send_signal(how)
    parent.wait(timeout=10)
    for _ in range(200):
        if not is_alive(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child is an orphan")


def test_child_of_another_process_lives_on():
    """A terminal or a debugger stands between it and the launch."""
    parent, child = start("1")
    parent.kill()
    parent.wait(timeout=10)
    time.sleep(0.3)
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
