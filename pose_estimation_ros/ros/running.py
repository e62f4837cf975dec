"""Run a node until it is told to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException

from pose_estimation_ros.ros.shutdown_signals import ShutdownSignals


@contextmanager
def answering_signals() -> Iterator[ExitStack]:
    """Run what starts rclpy and ends it: SIGINT and SIGTERM leave the block at once, and do not disturb its end.

    Yields:
        What has to be called at the end, the last first; then rclpy is shut down.
    """
    with ShutdownSignals() as signals, ExitStack() as ending:
        ending.callback(rclpy.try_shutdown)
        try:
            yield ending
        except KeyboardInterrupt:
            pass  # before rclpy was there
        finally:
            signals.ending()


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
