"""Run a node until it is told to go."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions, install_signal_handlers

from pose_estimation_ros.ros.shutdown_signals import NUMBERS, ShutdownSignals

_log = logging.getLogger(__name__)


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
        except Exception as error:
            if not signals.came:
                raise
            # The signal met C code that made another error of it, as where a message is converted.
            _log.debug("ended by a signal, in the midst of %r", error)
        finally:
            signals.ending()


def start_rclpy(
    ending: ExitStack, words: list[str], handlers: SignalHandlerOptions = SignalHandlerOptions.ALL
) -> Executor:
    """Start rclpy, and make the executor that spins the nodes.

    rclpy's own executor is made when it is first needed, and again after a shutdown: a signal then leaves half of one
    behind, which complains when it is collected. So signals wait until this one stands, and nodes use no other.

    Args:
        ending: ends the executor.
        words: of the command line, the program first.
        handlers: the signals that shut rclpy down.
    """
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in NUMBERS}
    try:
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        ending.callback(executor.shutdown)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    install_signal_handlers(handlers)
    if came:
        signal.raise_signal(came[0])
    return executor


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
