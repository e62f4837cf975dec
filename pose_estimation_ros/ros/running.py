"""Run a node until it is told to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException


@contextmanager
def until_shutdown() -> Iterator[None]:
    """End the block quietly when Ctrl-C or SIGTERM shuts rclpy down.

    The signal may also meet rclpy between two steps; what it raises then is an error only while the context is valid.
    """
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError):
        raise
    except Exception:
        if rclpy.ok():
            raise
