"""Counters and timings against numbers worked out by hand."""

from __future__ import annotations

import pytest

from pose_estimation_ros.ros.diagnostics import (
    ERROR,
    FrameTimes,
    Problem,
    Problems,
    Statistics,
    diagnostic_array,
    exception_kind,
)


def test_overhead_is_latency_without_waiting_and_pipeline():
    times = FrameTimes(latency_s=0.130, waited_s=0.020, stages_s={"detection": 0.06, "total": 0.107})
    assert times.overhead_s == pytest.approx(0.003)


def test_rate_and_medians():
    now = [0.0]
    statistics = Statistics(clock=lambda: now[0])
    for number in range(11):
        now[0] = 0.1 * number
        statistics.received()
        statistics.processed(FrameTimes(0.01 * number, 0.0, {"pose": 0.002, "total": 0.0}))
    statistics.refused()
    values = statistics.values()
    assert values["fps"] == "10.00"
    assert values["latency_ms_p50"] == "50.00"
    assert values["latency_ms_p95"] == "95.00"
    assert values["pose_ms"] == "2.00"
    assert values["crops_ms"] == ""
    assert [values[f"frames_{key}"] for key in ("received", "processed", "refused")] == ["11", "11", "1"]
    now[0] = 60.0
    assert statistics.values()["fps"] == "0.00"
    assert statistics.seconds_since_image() == pytest.approx(59.0)


def test_problem_is_new_once_and_current_until_cleared():
    problems = Problems()
    assert problems.report(Problem("a", "a happened"))
    assert not problems.report(Problem("a", "a happened"))
    assert problems.report(Problem("b", "b happened"))
    problems.clear()
    assert problems.current is None
    assert not problems.report(Problem("a", "a happened"))
    problems.forget()
    assert problems.report(Problem("a", "a happened"))


def test_values_in_the_text_make_no_new_problem_and_the_newest_text_is_the_current_one():
    problems = Problems()
    new = [problems.report(Problem("stamp", f"stamp {second}.5 came before")) for second in range(1000)]
    assert sum(new) == 1
    assert problems.current == "stamp 999.5 came before"


def test_memory_holds_the_newest_kinds_only():
    problems = Problems(memory=3)
    for kind in ("a", "b", "c", "a", "d"):  # "b" is the one longest not seen when "d" comes
        problems.report(Problem(kind, ""))
    assert not problems.report(Problem("a", ""))
    assert not problems.report(Problem("c", ""))
    assert problems.report(Problem("b", ""))


def test_exceptions_of_one_line_are_of_one_kind_whatever_they_say():
    def caught(number: int) -> ValueError:
        try:
            if number < 10:
                raise ValueError(f"{number} detections")
            raise ValueError("too many")
        except ValueError as error:
            return error

    assert exception_kind(caught(1)) == exception_kind(caught(2))
    assert exception_kind(caught(1)) != exception_kind(caught(11))
    assert exception_kind(KeyError("x")) != exception_kind(ValueError("x"))


def test_message_carries_level_and_values():
    pytest.importorskip("diagnostic_msgs.msg")
    from builtin_interfaces.msg import Time

    message = diagnostic_array(Time(sec=5), "/pose", ERROR, "no camera", {"fps": "3.0"})
    assert message.header.stamp.sec == 5
    (status,) = message.status
    assert (status.level, status.name, status.message) == (b"\x02", "/pose", "no camera")
    assert [(item.key, item.value) for item in status.values] == [("fps", "3.0")]
