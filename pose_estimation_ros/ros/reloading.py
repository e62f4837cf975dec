"""Load the bundle again while the node works; the old one stays in force until the new one is ready, or for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rclpy.task import Future

from pose_estimation_ros.ros.loading import LoadedPipeline

if TYPE_CHECKING:
    from rclpy.node import Node


class Reloader:
    """Load a pipeline in a thread of its own, one at a time, and hand it over in the node's thread.

    Args:
        node: its executor goes on meanwhile.
        load: builds the pipeline from the parameters that somebody set; called in the other thread.
        adopt: puts a pipeline in force and returns what is new; called in the node's thread.
        on_error: told, in the node's thread, what `load` or `adopt` raised.
    """

    def __init__(
        self,
        node: Node,
        load: Callable[[Mapping[str, Any]], LoadedPipeline],
        adopt: Callable[[LoadedPipeline], str],
        on_error: Callable[[Exception], object],
    ) -> None:
        self._node, self._load, self._adopt, self._on_error = node, load, adopt, on_error
        self._thread: threading.Thread | None = None
        self._wake = node.create_guard_condition(lambda: None)
        self.failure = ""  # why the newest reload came to nothing

    @property
    def is_loading(self) -> bool:
        """Tell whether a reload is under way."""
        return self._thread is not None

    async def reload(self, given: Mapping[str, Any]) -> tuple[bool, str]:
        """Return whether another pipeline is in force now, and what is new, or why not."""
        if self._thread is not None:
            return False, "a reload is under way; call again when it has answered"
        start_s = time.perf_counter()
        loaded: Future = Future(executor=self._node.executor)
        self._thread = threading.Thread(target=self._run, args=(given, loaded), name="pose_reload", daemon=True)
        self._thread.start()
        try:
            news = self._adopt(await loaded)
        except Exception as error:  # whatever is wrong with a bundle, the old one stays
            text = str(error) or type(error).__name__
            self.failure = f"reload failed, the bundle of before stays in force: {text}"
            self._on_error(error)
            return False, self.failure
        finally:
            self._thread = None
        self.failure = ""
        return True, f"reloaded in {time.perf_counter() - start_s:.1f} s; {news}"

    def wait(self) -> None:
        """Wait until nothing is being loaded; what was is not put in force."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, given: Mapping[str, Any], loaded: Future) -> None:
        try:
            loaded.set_result(self._load(given))
        except Exception as error:  # raised again where it is awaited
            loaded.set_exception(error)
        self._wake.trigger()
