"""One thread, one slot, the newest item wins."""

from __future__ import annotations

import threading
import time

import pytest

from pose_estimation_ros.ros.worker import Worker


def wait_for(condition) -> None:
    end_s = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.001)


def test_newest_item_wins_and_the_others_are_counted():
    started, go_on, seen = threading.Event(), threading.Event(), []

    def handle(item: int, waited_s: float) -> None:
        seen.append((item, waited_s))
        started.set()
        go_on.wait(5.0)

    worker = Worker(handle, lambda error: None)
    worker.start()
    worker.put(0)
    assert started.wait(5.0)
    for item in range(1, 6):
        worker.put(item)
    time.sleep(0.05)
    go_on.set()
    wait_for(lambda: len(seen) == 2)
    worker.stop()
    assert [item for item, _ in seen] == [0, 5]
    assert worker.dropped == 4
    assert seen[0][1] == 0.0
    assert 0.04 < seen[1][1] < 1.0  # it waited for item 0


def test_errors_are_passed_on_and_the_thread_goes_on():
    errors, seen = [], []

    def handle(item: int, waited_s: float) -> None:
        if item == 1:
            raise RuntimeError("one")
        seen.append(item)

    worker = Worker(handle, errors.append)
    worker.start()
    worker.put(1)
    wait_for(lambda: errors)
    worker.put(2)
    wait_for(lambda: seen)
    worker.stop()
    assert (str(errors[0]), seen) == ("one", [2])


def test_stop_lets_the_item_in_work_finish_and_drops_the_next():
    started, seen = threading.Event(), []

    def handle(item: int, waited_s: float) -> None:
        started.set()
        time.sleep(0.05)
        seen.append(item)

    worker = Worker(handle, lambda error: None)
    worker.start()
    worker.put(1)
    assert started.wait(5.0)
    worker.put(2)
    worker.stop()
    assert (seen, worker.dropped) == ([1], 1)
    worker.stop()  # twice does no harm
    worker.start()
    worker.put(3)
    wait_for(lambda: 3 in seen)
    with pytest.raises(RuntimeError, match="is running"):
        worker.start()
    worker.stop()
