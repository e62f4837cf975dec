"""What pose_add says of a training while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pose_estimation_ros.cli.add_growth import Look, expected_found, growth_table, look_cost_s, look_shares, look_words

FIRST = Look(
    minutes=9.84,
    share=1 / 3,
    network="detector",
    samples=1200,
    detector="mask_rcnn",
    backend="unseen",
    scenes=6,
    objects=34,
    found=0.41,
    wrong=1 / 3,
    seconds=31.0,
)
SECOND = replace(FIRST, minutes=20.1, share=2 / 3, samples=2400, found=0.51)


def test_looks_leave_time_to_train_between_them() -> None:
    assert look_shares(1800.0, 1700.0) == pytest.approx([1 / 3, 2 / 3])
    assert look_shares(400.0, 360.0) == pytest.approx([1 / 3, 2 / 3])
    assert look_shares(300.0, 240.0) == [0.5]
    assert look_shares(300.0, 239.0) == []
    assert look_shares(299.0, 299.0) == []
    assert look_shares(300.0, 10.0) == []
    assert look_cost_s(1800.0) == pytest.approx(36.0)
    assert look_cost_s(300.0) == pytest.approx(20.0)


def test_a_gain_goes_on_per_doubling_and_nothing_is_promised_without_one() -> None:
    assert expected_found([]) is None
    assert expected_found([FIRST]) is None
    quarter, half = replace(FIRST, share=0.25), replace(SECOND, share=0.5)
    assert expected_found([quarter, half]) == pytest.approx(0.61)  # once more twice as much
    assert expected_found([quarter, replace(half, found=0.9)]) == 1.0
    assert expected_found([quarter, replace(half, found=0.3)]) == 0.3
    expected = expected_found([FIRST, SECOND])
    assert expected is not None
    assert 0.51 < expected < 0.51 + 0.10


def test_one_line_says_what_was_found_and_what_to_expect() -> None:
    first = "after 9.8 of 30 minutes: 41 % of the 34 objects found on 6 rendered scenes, 0.3 wrong poses an image"
    assert look_words([FIRST], 30.0) == first
    second = "after 20.1 of 30 minutes: 51 % of the 34 objects found on 6 rendered scenes, 0.3 wrong poses an image"
    assert look_words([FIRST, SECOND], 30.0) == f"{second}; about 57 % at the end"


def test_the_report_has_a_row_for_each_look() -> None:
    assert growth_table([]) == []
    lines = growth_table([FIRST, SECOND])
    assert lines[-2:] == [
        "| 9.8 | detector | 1200 | mask_rcnn | unseen | 41 | 0.3 |",
        "| 20.1 | detector | 2400 | mask_rcnn | unseen | 51 | 0.3 |",
    ]
    assert any("About 57 % was expected at the end." in line for line in lines)
    assert not any("expected" in line for line in growth_table([FIRST]))
