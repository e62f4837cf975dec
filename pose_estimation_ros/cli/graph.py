"""Processes of a ROS graph: started together on a DDS domain of their own, logged, and ended properly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LARGEST_DOMAIN = 101  # higher ones meet the ports that Linux gives to outgoing connections
_PATIENCE_S = (10.0, 5.0, 5.0)  # after SIGINT, SIGTERM, SIGKILL


class GraphError(RuntimeError):
    """A process of the graph ended or kept silent; the message says which and what it said last."""


def free_domain_id() -> int:
    """Return a DDS domain on which nobody on this machine seems to be."""
    candidates = list(range(1, _LARGEST_DOMAIN + 1))
    random.shuffle(candidates)
    for domain_id in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:  # the port on which the first participant of a domain is found (RTPS 9.6.1.1)
                probe.bind(("", 7410 + 250 * domain_id))
            except OSError:
                continue
        return domain_id
    raise GraphError(f"no free DDS domain between 1 and {_LARGEST_DOMAIN}")


class Graph:
    """Start Python modules as processes; leaving the context ends all that still run.

    Args:
        log_dir: folder for one log per process.
        domain_id: DDS domain; a free one where absent.
    """

    def __init__(self, log_dir: Path, domain_id: int | None = None) -> None:
        self.domain_id = free_domain_id() if domain_id is None else domain_id
        self._log_dir = log_dir
        self._processes: dict[str, subprocess.Popen] = {}
        self._readers: dict[str, threading.Thread] = {}
        self._lines: dict[str, list[str]] = {}
        self._news = threading.Condition()
        log_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)

    def start(self, name: str, command: list[str], on_line: Callable[[str], None] | None = None) -> None:
        """Start `python COMMAND...`; its output goes to NAME.log and, line by line, to a function."""
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONUNBUFFERED": "1",
        }
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # an interrupt from the keyboard reaches it through us, once
        )
        self._processes[name], self._lines[name] = process, []
        reader = threading.Thread(target=self._read, args=(name, process, on_line), daemon=True)
        self._readers[name] = reader
        reader.start()

    def _read(self, name: str, process: subprocess.Popen, on_line: Callable[[str], None] | None) -> None:
        assert process.stdout is not None
        with (self._log_dir / f"{name}.log").open("w") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                with self._news:
                    self._lines[name].append(line.rstrip())
                    self._news.notify_all()
                if on_line is not None:
                    on_line(line.rstrip())
        with self._news:
            self._news.notify_all()

    def wait_for_line(self, name: str, accepts: Callable[[str], bool], timeout_s: float) -> str:
        """Wait until a process prints a line that a function accepts, and return it.

        Raises:
            GraphError: if the process ends before, or the time is over.
        """
        deadline_s, seen = time.monotonic() + timeout_s, 0
        while True:
            with self._news:
                fresh = self._lines[name][seen:]
                if not fresh and self.is_running(name):
                    self._news.wait(0.2)
                    fresh = self._lines[name][seen:]
            seen += len(fresh)
            for line in fresh:
                if accepts(line):
                    return line
            if not fresh and not self.is_running(name):
                raise GraphError(f"{name}: ended with exit code {self._processes[name].poll()}{self._last_words(name)}")
            if time.monotonic() > deadline_s:
                raise GraphError(f"{name}: nothing to be heard for {timeout_s:.0f} s{self._last_words(name)}")

    def wait(self, name: str, timeout_s: float) -> int:
        """Wait until a process ends by itself and return its exit code.

        Raises:
            GraphError: if it runs longer.
        """
        try:
            code = self._processes[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GraphError(f"{name}: still running after {timeout_s:.0f} s{self._last_words(name)}") from None
        self._readers[name].join(timeout=5.0)
        return code

    def stop(self, name: str) -> int:
        """End a process as Ctrl-C would, harder if it does not listen, and return its exit code."""
        process = self._processes[name]
        for number, patience_s in zip((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), _PATIENCE_S, strict=True):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        self._readers[name].join(timeout=5.0)
        code = process.poll()
        return -signal.SIGKILL if code is None else code

    def is_running(self, name: str) -> bool:
        """Tell whether a process has not ended."""
        return self._processes[name].poll() is None

    def _last_words(self, name: str) -> str:
        lines = [line for line in self._lines[name] if line.strip()]
        log = self._log_dir / f"{name}.log"
        return f" ({lines[-1].strip()}; see {log})" if lines else f" (see {log})"
