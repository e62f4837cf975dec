"""Numbers of hands: they stay with the hand, and come free when it is gone."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.tracking.hand_numbers import HandNumbers

LEFT, RIGHT = np.array([-0.2, 0.0, 0.6]), np.array([0.2, 0.0, 0.6])
SECOND = 1_000_000_000


def test_hands_keep_their_numbers_whatever_their_order():
    numbers = HandNumbers()
    assert numbers.assign([LEFT, RIGHT], 0) == [0, 1]
    assert numbers.assign([RIGHT + 0.03, LEFT - 0.02], SECOND // 30) == [1, 0]
    assert numbers.assign([RIGHT + 0.05], SECOND // 15) == [1]
    assert numbers.assign([LEFT, RIGHT], SECOND // 10) == [0, 1]


def test_a_number_is_free_again_after_a_while_and_when_stamps_go_back():
    numbers = HandNumbers()
    numbers.assign([LEFT, RIGHT], 10 * SECOND)
    assert numbers.assign([RIGHT, LEFT + np.array([0.0, 0.9, 0.0])], 10 * SECOND + SECOND // 2) == [1, 2]
    assert numbers.assign([RIGHT], 13 * SECOND) == [0]
    assert numbers.assign([LEFT], 2 * SECOND) == [0]


def test_no_hands_have_no_numbers():
    assert HandNumbers().assign([], 0) == []
