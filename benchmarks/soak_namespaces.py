"""Network namespaces without names: the kernel takes them away with the last process in them.

Making them needs root, or a kernel that gives them to users.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAYS_IN = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])
TRIAL = "ip link add soak_trial type veth peer name soak_peer && unshare --net true"


class NamespaceError(RuntimeError):
    """No network namespace can be made; the message says why."""


class Cable:
    """A virtual cable between this network namespace and that of a process.

    Args:
        process: somebody in the other namespace.
    """

    def __init__(self, process: int) -> None:
        self.enter = ["nsenter", f"--net=/proc/{process}/ns/net"]  # before a command that is to run at the other end
        _run(["ip", "link", "add", "soak_a", "type", "veth", "peer", "name", "soak_b", "netns", str(process)])
        self.ends: tuple[tuple[str, list[str]], ...] = (("soak_a", []), ("soak_b", self.enter))
        for number, (name, prefix) in enumerate(self.ends, start=1):
            _run([*prefix, "ip", "address", "add", f"192.0.2.{number}/30", "dev", name])
            for device in ("lo", name):
                _run([*prefix, "ip", "link", "set", device, "up"])

    def set(self, end: int, state: str) -> None:
        """Set one end, this (0) or the other (1), up or down."""
        name, prefix = self.ends[end]
        _run([*prefix, "ip", "link", "set", name, state])


@contextmanager
def joined_namespace() -> Iterator[Cable]:
    """Make another network namespace and a cable to it."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as holder:  # ends when this process does
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
            time.sleep(0.01)
        yield Cable(holder.pid)


def way_in() -> list[str]:
    """Return what makes a namespace for a command, the simplest that is allowed.

    Raises:
        NamespaceError: if none is.
    """
    reasons = []
    for way in WAYS_IN:
        try:
            _run([*way, "sh", "-c", TRIAL])
            return way
        except NamespaceError as error:
            reasons.append(str(error))
    raise NamespaceError("; ".join(dict.fromkeys(reasons)))


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NamespaceError(f"{command[0]}: not installed") from error
    except subprocess.CalledProcessError as error:
        raise NamespaceError(error.stderr.strip() or f"{command[0]}: exit code {error.returncode}") from error
