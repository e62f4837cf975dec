"""End with the process that started this one: launch ends at SIGTERM, and at a crash, without its children."""

from __future__ import annotations

import ctypes
import os
import signal

VARIABLE = "POSE_ESTIMATION_ENDS_WITH"  # set by the launch files: the process to end with
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, if the environment names the parent.

    It does not where a debugger or terminal stands between the two: that is another parent, which lives on.
    """
    named = os.environ.get(VARIABLE, "")
    if named != str(os.getppid()):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if named != str(os.getppid()):  # it died meanwhile
        os.kill(os.getpid(), signal.SIGTERM)
