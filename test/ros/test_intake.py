"""Which camera_info goes with which image."""

from __future__ import annotations

from pose_estimation_ros.ros.intake import Intake


def make() -> tuple[Intake, list[tuple[str, str]]]:
    pairs: list[tuple[str, str]] = []
    return Intake(lambda arrival: pairs.append((arrival.image, arrival.info))), pairs


def test_same_stamp_wins_over_newer_and_older():
    intake, pairs = make()
    for stamp in (1, 2, 3):
        intake.info(stamp, f"info {stamp}")
    intake.image(2, "image 2", 0.0)
    assert pairs == [("image 2", "info 2")]


def test_without_its_own_the_newest_earlier_one_is_taken_at_once():
    intake, pairs = make()
    for stamp in (0, 1, 9):
        intake.info(stamp, f"info {stamp}")
    intake.image(5, "image 5", 0.0)
    assert pairs == [("image 5", "info 1")]


def test_image_before_any_camera_info_is_held_until_its_own_comes():
    intake, pairs = make()
    intake.image(5, "image 5", 0.0)
    assert intake.is_holding
    assert intake.missing() == "no camera_info received"
    intake.info(5, "info 5")
    assert pairs == [("image 5", "info 5")]
    assert not intake.is_holding


def test_driver_that_sends_camera_info_last_gets_exact_pairs():
    intake, pairs = make()
    for stamp in (1, 2, 3):
        intake.image(stamp, f"image {stamp}", 0.0)
        intake.info(stamp, f"info {stamp}")
    assert pairs == [(f"image {stamp}", f"info {stamp}") for stamp in (1, 2, 3)]


def test_expected_camera_info_that_does_not_come_is_replaced_after_the_wait():
    intake, pairs = make()
    intake.info(1, "info 1")
    intake.image(1, "image 1", 0.0)
    intake.image(2, "image 2", 0.0)
    assert intake.is_holding
    intake.timeout()
    assert pairs[-1] == ("image 2", "info 1")
    # The stream is no longer one pair per stamp: do not wait again.
    intake.image(3, "image 3", 0.0)
    assert pairs[-1] == ("image 3", "info 1")


def test_newer_image_replaces_one_that_nothing_fits_and_is_counted():
    intake, pairs = make()
    intake.image(1, "image 1", 0.0)
    intake.image(2, "image 2", 0.0)
    intake.info(2, "info 2")
    assert pairs == [("image 2", "info 2")]
    assert intake.dropped == 1


def test_camera_info_from_the_future_only_is_explained():
    intake, pairs = make()
    intake.info(3_500_000_000, "info")
    intake.image(1_000_000_000, "image", 0.0)
    assert pairs == []
    assert "newer than the image, by 2.500 s" in intake.missing()


def test_only_the_newest_camera_infos_are_remembered():
    intake, pairs = make()
    for stamp in range(1000):
        intake.info(stamp, f"info {stamp}")
    for stamp in (970, 969):
        intake.image(stamp, f"image {stamp}", 0.0)
    assert pairs == [("image 970", "info 970")]
    intake.timeout()  # no earlier one is left either
    assert intake.is_holding


def test_nothing_is_missing_while_an_image_waits_for_the_better_of_two_camera_infos():
    intake, pairs = make()
    intake.image(1, "image 1", 0.0)
    intake.info(1, "info 1")
    intake.image(2, "image 2", 0.0)
    assert intake.is_holding
    assert intake.missing() is None
    intake.timeout()
    assert pairs[-1] == ("image 2", "info 1")


def test_an_image_that_is_given_up_counts_as_dropped_once():
    intake, pairs = make()
    intake.image(1, "image 1", 0.0)
    intake.give_up()
    intake.give_up()
    assert (pairs, intake.dropped, intake.is_holding) == ([], 1, False)
