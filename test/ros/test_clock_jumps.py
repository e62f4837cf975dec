"""When a clock was set back."""

from __future__ import annotations

from pose_estimation_ros.ros.clock_jumps import ClockJumps


def test_only_more_than_a_second_back_from_the_image_before_is_a_jump():
    jumps = ClockJumps()
    seconds = (5.0, 5.1, 4.2, 9.0, 8.0, 6.9, 6.8, 0.0, 0.0, 100.0)
    assert [number for number, second in enumerate(seconds) if jumps.went_back(round(second * 1e9))] == [5, 7]
