"""End with the process that started this one: launch ends at SIGTERM, and at a crash, without its children."""

from __future__ import annotations

import ctypes
import os
import signal

VARIABLE = "POSE_ESTIMATION_ENDS_WITH"  # set by the launch files: the process to end with
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, if the environment names the parent.

    It does not where a debugger or terminal stands between the two: that is another parent, which lives on. Where
    it died before this process came here, another process is the parent, too, but the named one is no more.
    """
    named = os.environ.get(VARIABLE, "")
    if not named.isdecimal():
        return
    is_child = named == str(os.getppid())
    if is_child:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if not _exists(int(named)) or (is_child and named != str(os.getppid())):  # it has died meanwhile
        os.kill(os.getpid(), signal.SIGTERM)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
