"""What the diagnostics say: of several things that were or are wrong, the newest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pose_estimation_ros.ros.diagnostics import ERROR, OK, WARN
from pose_estimation_ros.ros.health import SILENCE_S, Situation, judge

WORKING = Situation("active", image_topic="/image", publishers=1, silent_s=0.1, pose_count=6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (OK, "6 objects")),
        ({"pose_count": 0, "reason": "nothing above 0.5"}, (OK, "nothing above 0.5")),
        ({"problem": "step = 5"}, (ERROR, "step = 5")),
        ({"warnings": ("reload failed", "frame 'a'")}, (WARN, "6 objects; reload failed; frame 'a'")),
        ({"warnings": ("reload failed",), "problem": "step = 5"}, (ERROR, "step = 5")),
        ({"problem": "step = 5", "missing": "no camera_info received"}, (WARN, "no camera_info received")),
        ({"silent_s": 12.3}, (WARN, "no image on /image for 12 s (1 publishers)")),
        ({"silent_s": None, "publishers": 0}, (WARN, "no image on /image (0 publishers)")),
        (
            {"silent_s": 60.0, "problem": "step = 5", "missing": "no camera_info received"},
            (WARN, "no image on /image for 60 s (1 publishers); before that: step = 5"),
        ),
        ({"on_demand": True, "silent_s": None, "pose_count": 0}, (OK, "ready for a call of ~/detect")),
        ({"on_demand": True, "silent_s": 99.0}, (OK, "ready for a call of ~/detect; newest image: 6 objects")),
        ({"on_demand": True, "silent_s": 99.0, "problem": "step = 5"}, (ERROR, "step = 5")),
        ({"is_enabled": False, "problem": "step = 5"}, (OK, "disabled by the service enable")),
        ({"state": "inactive"}, (OK, "inactive")),
        ({"state": "unconfigured"}, (WARN, "unconfigured")),
        ({"state": "unconfigured", "problem": "no bundle"}, (ERROR, "no bundle")),
    ],
)
def test_the_newest_truth_wins(changes, expected):
    assert judge(replace(WORKING, **changes)) == expected


@pytest.mark.parametrize(
    "changes", [{"silent_s": SILENCE_S + 0.1}, {"silent_s": None}, {"is_enabled": False}, {"state": "inactive"}]
)
def test_objects_of_before_are_not_seen_now(changes):
    assert WORKING.objects == 6
    assert replace(WORKING, **changes).objects == 0
