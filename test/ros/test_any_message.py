"""Whatever message comes in: poses or exactly one reason come out, no exception, and memory stays bounded."""

from __future__ import annotations

import array
import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from pose_estimation_ros.ros.camera_info import FISHEYE_MODEL, PINHOLE_MODELS
from pose_estimation_ros.ros.diagnostics import Problem, Statistics
from pose_estimation_ros.ros.images import ENCODINGS
from pose_estimation_ros.ros.intake import Arrival
from pose_estimation_ros.ros.loading import LoadedPipeline
from pose_estimation_ros.ros.processing import FrameProcessor

MORE_BYTES = 400_000_000  # that a message of some kilobytes may take
MAX_UINT32 = 2**32 - 1
PARAMETERS = {
    "image_is_rectified": False,
    "publish_tf": True,
    "detector.score_threshold": 0.5,
    "pose.score_threshold": 0.0,
    "objects": (),
}
EASY = settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory() -> Iterator[None]:
    """Let whatever asks for more fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


class Seeing:
    """Stand in for the pipeline; undistorts as it does."""

    score_threshold = min_pose_score = lowest_score = 0.0
    objects: tuple[str, ...] = ()

    def process(self, frame: Any) -> SimpleNamespace:
        image = frame.camera.undistort_image(frame.rgb)
        assert image.shape == (frame.camera.height, frame.camera.width, 3) and image.dtype == np.uint8
        assert np.isfinite(frame.camera.undistorted().intrinsics).all()
        return SimpleNamespace(
            poses=[SimpleNamespace(name="can", track_id=0, score=1.0)], timings_s={}, reason=None, tracks=()
        )

    def reset_tracks(self) -> None:
        pass


class Out:
    """Count what is published."""

    frame_prefix = ""

    def __init__(self) -> None:
        self.published = 0

    def publish_labels(self, lowest_score: float) -> None:
        pass

    def publish_tf(self, header: Any, poses: Any) -> None:
        return None

    def publish_poses(self, header: Any, result: Any) -> None:
        self.published += 1

    def watched_images(self) -> frozenset[str]:
        return frozenset()

    def publish_images(self, header: Any, images: Any) -> None:
        pass


class NoCalls:
    """Nobody waits for an answer of ~/detect."""

    def wait_for(self, received_s: float) -> bool:
        return False

    def answer(self, received_s: float, found: bool, text: str) -> None:
        pass


def outcome(image: Any, info: Any, rectified: bool) -> Problem | None:
    """Process a message; return why there are no poses, None when there are."""
    said: list[Problem | None] = []
    out, statistics = Out(), Statistics()
    parameters = PARAMETERS | {"image_is_rectified": rectified}
    loaded: Any = LoadedPipeline(Seeing(), ())  # type: ignore[arg-type]
    calls: Any = NoCalls()
    stage: Any = out
    processor = FrameProcessor(loaded, stage, parameters, statistics, said.append, lambda poses: None, calls)
    processor.handle(Arrival(image, info, 0.0), 0.0)
    assert len(said) == 1
    problem = said[0]
    assert (out.published, statistics.counts["processed"]) == ((1, 1) if problem is None else (0, 0))
    assert statistics.counts["refused"] == (0 if problem is None else 1)
    assert problem is None or (problem.text.strip() and "\n" not in problem.text and len(problem.text) < 2000)
    return problem


def header(second: int = 0) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=0), frame_id="camera")


uint32 = st.one_of(st.integers(0, 40), st.sampled_from([5_000, 16_384, 16_385, 2**31, MAX_UINT32]))
encodings = st.one_of(st.sampled_from([*ENCODINGS, "32FC1", "RGB8", ""]), st.text(max_size=8))
any_float = st.floats(width=64)


@st.composite
def images(draw: st.DrawFn) -> SimpleNamespace:
    """Draw images: half of them are as they should be, of the others everything may be anything."""
    good = draw(st.booleans())
    width, height = (2 * draw(st.integers(1, 16)), draw(st.integers(1, 24))) if good else (draw(uint32), draw(uint32))
    encoding = draw(st.sampled_from(list(ENCODINGS)) if good else encodings)
    layout = ENCODINGS.get(encoding)
    row = width * (layout.channels * layout.depth_bytes if layout else 1)
    step, size = row, row * height
    if not good and draw(st.booleans()):
        step = draw(st.one_of(uint32, st.integers(0, 300)))
        size = draw(st.one_of(st.just(step * height), st.integers(0, 3_000)))
    data = array.array("B", bytes([draw(st.integers(0, 255))]) * min(size, 40_000))
    return SimpleNamespace(
        header=header(draw(st.integers(-(2**31), 2**31 - 1))), width=width, height=height, encoding=encoding,
        is_bigendian=draw(st.sampled_from([0, 1, 255])), step=step, data=data,
    )  # fmt: skip


@st.composite
def infos(draw: st.DrawFn, width: int | None = None, height: int | None = None) -> SimpleNamespace:
    """Draw calibrations: of the image's size or another, with numbers that make sense or do not."""
    focal = draw(st.one_of(st.floats(10.0, 200.0), st.floats(10.0, 200.0), any_float))
    k = [
        focal,
        0.0,
        draw(st.one_of(st.floats(0.0, 40.0), st.floats(0.0, 40.0), any_float)),
        0.0,
        focal,
        10.0,
        0.0,
        0.0,
        1.0,
    ]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    if draw(st.integers(0, 3)) == 0:
        k, p = (draw(st.lists(any_float, min_size=count, max_size=count)) for count in (9, 12))
    small = st.floats(-0.1, 0.1)
    count = draw(st.sampled_from([0, 0, 4, 5, 8, 12, 14, 3, 15]))
    d = draw(st.lists(draw(st.sampled_from([small, small, any_float])), min_size=count, max_size=count))
    window = [draw(uint32) for _ in range(4)] if draw(st.integers(0, 3)) == 0 else [0, 0, 0, 0]
    return SimpleNamespace(
        header=header(), k=k, p=p, d=d,
        width=draw(uint32) if width is None or draw(st.integers(0, 5)) == 0 else width,
        height=draw(uint32) if height is None or draw(st.integers(0, 5)) == 0 else height,
        distortion_model=draw(st.sampled_from([*PINHOLE_MODELS, FISHEYE_MODEL]) if count else st.text(max_size=8)),
        binning_x=draw(st.sampled_from([0, 0, 1, 1, 2, MAX_UINT32])),
        binning_y=draw(st.sampled_from([0, 0, 1, 1, 2, MAX_UINT32])),
        roi=SimpleNamespace(**dict(zip(("x_offset", "y_offset", "width", "height"), window, strict=True))),
    )  # fmt: skip


@EASY
@given(image=images(), data=st.data(), rectified=st.booleans())
def test_any_image_gives_poses_or_one_reason(image: Any, data: Any, rectified: bool) -> None:
    info = st.one_of(st.just(good_info(image.width, image.height)), infos(image.width, image.height))
    outcome(image, data.draw(info), rectified)


@EASY
@given(info=infos(32, 24), rectified=st.booleans())
def test_any_calibration_of_a_good_image_gives_poses_or_one_reason(info: Any, rectified: bool) -> None:
    problem = outcome(good_image(), info, rectified)
    assert problem is None or problem.text.startswith("camera_info: ")


def good_info(width: int, height: int) -> SimpleNamespace:
    focal = 1.0 * max(width, height)
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return SimpleNamespace(
        header=header(), k=k, p=[0.0] * 12, d=[], width=width, height=height, distortion_model="",
        binning_x=0, binning_y=0, roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip


def good_image() -> SimpleNamespace:
    return SimpleNamespace(
        header=header(),
        width=32,
        height=24,
        encoding="rgb8",
        is_bigendian=0,
        step=96,
        data=array.array("B", bytes(2304)),
    )


ENCODED = [
    cv2.imencode(suffix, np.arange(2304, dtype=np.uint8).reshape(24, 32, 3))[1].tobytes() for suffix in (".png", ".jpg")
]


@EASY
@given(
    data=st.one_of(st.binary(max_size=200), st.sampled_from(ENCODED)),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4),
    format_=st.text(max_size=20),
)
@example(data=ENCODED[0], changes=[], format_="png")
def test_any_compressed_image_gives_poses_or_one_reason(data: bytes, changes: Any, format_: str) -> None:
    content = bytearray(data)
    for place, value in changes:
        content[place : place + 1] = bytes([value])
    message = SimpleNamespace(header=header(), format=format_, data=array.array("B", bytes(content)))
    problem = outcome(message, good_info(32, 24), False)
    assert changes or data not in ENCODED or problem is None
