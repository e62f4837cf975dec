"""The figures of the soak: silences, accounts and growth, from what an observer saw."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def observer(monkeypatch):
    """Return an observer that listens to nothing."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import soak_observer

    monkeypatch.setattr(
        soak_observer, "SingleThreadedExecutor", lambda: SimpleNamespace(add_node=id, spin=lambda: None)
    )
    heard = {}
    node = SimpleNamespace(create_subscription=lambda kind, topic, callback, qos: heard.update({topic: callback}))
    found = soak_observer.Observer(node)
    found.heard = heard  # what the topics' messages are given to
    yield found
    del sys.modules["soak_observer"]


def results(observer, moments):
    observer.results = [SimpleNamespace(stamp_ns=int(1e9 * moment), arrived_s=moment) for moment in moments]


def test_silences_are_long_unusual_and_not_explained(observer):
    results(observer, [0.0, 0.1, 0.2, 5.2, 5.3, 9.3, 9.4])
    assert observer.silences([]) == pytest.approx([5.0, 4.0])
    assert observer.silences([(1.0, 2.0)]) == pytest.approx([4.0])
    results(observer, [0.0, 1.0, 2.0, 6.0, 7.0])  # five times the usual is more than two seconds
    assert observer.silences([]) == []


def diagnostics(**counts):
    values = [SimpleNamespace(key=f"frames_{name}", value=str(value)) for name, value in counts.items()]
    return SimpleNamespace(status=[SimpleNamespace(name="/pose_estimation", message="", values=values)])


def test_images_whose_fate_is_unknown_are_told(observer):
    observer.heard["/diagnostics"](diagnostics(received=10, processed=4, refused=1, dropped=2, ignored=0))
    assert observer.unaccounted == 0
    observer.heard["/diagnostics"](diagnostics(received=11, processed=4, refused=1, dropped=2, ignored=0))
    observer.heard["/diagnostics"](diagnostics(received=11, processed=12, refused=0, dropped=0, ignored=0))
    assert observer.unaccounted == 2


def test_the_first_result_after_a_stamp_is_not_the_newest(observer):
    results(observer, [1.0, 2.0, 3.0, 4.0])
    assert observer.first_result_after(1_500_000_000, 0.1).arrived_s == 2.0
    assert observer.first_result_after(5_000_000_000, 0.02) is None


def test_tf_stamps_that_come_twice_are_counted_by_frame(observer):
    stamp = SimpleNamespace(sec=1, nanosec=0)
    mug, cup = (SimpleNamespace(child_frame_id=name, header=SimpleNamespace(stamp=stamp)) for name in ("mug", "cup"))
    observer.heard["/tf"](SimpleNamespace(transforms=[mug, cup]))
    assert observer.duplicates == 0
    observer.heard["/tf"](SimpleNamespace(transforms=[mug]))
    assert observer.duplicates == 1
