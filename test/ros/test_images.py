"""Image messages against pixels computed by hand."""

from __future__ import annotations

import array
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_estimation_ros.ros.images import ENCODINGS, compressed_to_rgb, image_to_rgb
from pose_estimation_ros.ros.input_error import ImageError


def message(pixels: np.ndarray, encoding: str, padding: int = 0, is_bigendian: int = 0) -> SimpleNamespace:
    """Lay out pixels (H, W) or (H, W, C) as an image message with padded rows."""
    rows = pixels.reshape(pixels.shape[0], -1)
    data = np.pad(np.ascontiguousarray(rows).view(np.uint8), ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=data.shape[1],
        data=array.array("B", data.tobytes()),
    )


RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
ALPHA = np.full((4, 6, 1), 9, dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.concatenate([RGB, ALPHA], axis=2), RGB),
        ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
        ("mono8", RGB[..., 0], np.repeat(RGB[..., :1], 3, axis=2)),
    ],
)
def test_colours_arrive_in_their_channels(encoding, pixels, expected, padding):
    assert np.array_equal(image_to_rgb(message(pixels, encoding, padding)), expected)


@given(height=st.integers(1, 7), width=st.integers(1, 9), padding=st.integers(0, 8), seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_any_size_and_step_give_the_pixels_back(height, width, padding, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(image_to_rgb(message(pixels, "rgb8", padding)), pixels)


def test_rgb8_is_a_view_without_a_copy():
    source = message(RGB, "rgb8", padding=3)
    view = image_to_rgb(source)
    source.data[0] = 255 - source.data[0]
    assert view[0, 0, 0] == 255 - RGB[0, 0, 0]


@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_sixteen_bits_keep_their_high_byte_in_either_byte_order(is_bigendian):
    values = (RGB.astype(np.uint16) << 8) + 200
    stored = values.astype(">u2" if is_bigendian else "<u2")
    assert np.array_equal(image_to_rgb(message(stored, "rgb16", 4, is_bigendian)), RGB)
    assert np.array_equal(image_to_rgb(message(stored[..., 1], "mono16", 0, is_bigendian))[..., 2], RGB[..., 1])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("color", [(250, 10, 20), (10, 250, 20), (10, 20, 250)])
def test_bayer_mosaic_of_one_colour_gives_that_colour(pattern, color):
    values = dict(zip("rgb", color, strict=True))
    tile = np.array(
        [[values[pattern[0]], values[pattern[1]]], [values[pattern[2]], values[pattern[3]]]], dtype=np.uint8
    )
    mosaic = np.tile(tile, (5, 6))
    rgb = image_to_rgb(message(mosaic, f"bayer_{pattern}8", padding=4))
    assert np.array_equal(rgb[2:-2, 2:-2], np.broadcast_to(color, rgb[2:-2, 2:-2].shape))


@pytest.mark.parametrize("encoding", ["yuv422", "yuv422_yuy2"])
def test_yuv422_gives_the_colour_of_bt601(encoding):
    """Y = 81, U = 90, V = 240 is pure red in studio-range BT.601."""
    luma, blue, red = 81, 90, 240
    pair = [blue, luma, red, luma] if encoding == "yuv422" else [luma, blue, luma, red]
    packed = np.tile(np.array(pair, dtype=np.uint8).reshape(1, 2, 2), (4, 3, 1))
    rgb = image_to_rgb(message(packed, encoding, padding=6))
    assert rgb.shape == (4, 6, 3)
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"encoding": "32FC1"}, "encoding = '32FC1': expected one of"),
        ({"step": 17}, "step = 17: expected at least 18 bytes for width 6"),
        ({"height": 5}, "data has 72 bytes: expected 90 for height 5"),
        ({"height": 3}, "data has 72 bytes: expected 54 for height 3"),
        ({"width": 0}, "size 0x4"),
        ({"data": array.array("B")}, "data has 0 bytes"),
    ],
)
def test_contradictions_are_named_with_value_and_expectation(change, text, install):
    install("cv_bridge", None)
    source = message(RGB, "rgb8")
    for name, value in change.items():
        setattr(source, name, value)
    with pytest.raises(ImageError, match=text.replace("(", r"\(")):
        image_to_rgb(source)


def test_odd_width_in_yuv422_is_refused():
    with pytest.raises(ImageError, match="width = 3: expected an even number"):
        image_to_rgb(message(np.zeros((2, 3, 2), dtype=np.uint8), "yuv422"))


def test_missing_padding_after_the_last_row_is_no_error():
    source = message(RGB, "rgb8", padding=5)
    del source.data[-5:]
    assert np.array_equal(image_to_rgb(source), RGB)


class Bridge:
    """Stand in for cv_bridge.CvBridge, which knows one encoding more here and refuses all others."""

    def imgmsg_to_cv2(self, source, desired_encoding):
        assert desired_encoding == "rgb8"
        if source.encoding != "nv21":
            raise TypeError(f"[{source.encoding}] is not a color format")
        return RGB


def test_cv_bridge_takes_other_encodings_where_it_is_installed(install):
    install("cv_bridge", SimpleNamespace(CvBridge=Bridge))
    assert np.array_equal(image_to_rgb(message(RGB, "nv21")), RGB)
    with pytest.raises(ImageError, match="encoding = '32FC1': cv_bridge fails with: .32FC1. is not a color format"):
        image_to_rgb(message(RGB, "32FC1"))


def test_known_encodings_need_no_cv_bridge_where_it_is_installed(install):
    install("cv_bridge", SimpleNamespace())
    assert np.array_equal(image_to_rgb(message(RGB, "rgb8")), RGB)


def test_cv_bridge_reads_the_same_pixels():
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
    from sensor_msgs.msg import Image

    height, width = 48, 64
    for encoding in set(ENCODINGS) - {"8UC1", "8UC3", "uyvy", "yuyv"}:  # it refuses these
        layout = ENCODINGS[encoding]
        step = width * layout.channels * layout.depth_bytes
        data = np.random.default_rng(3).integers(0, 256, height * step, dtype=np.uint8)
        source = Image(height=height, width=width, encoding=encoding, step=step, data=array.array("B", data.tobytes()))
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(source, desired_encoding="rgb8")
        most = 0 if layout.depth_bytes == 1 else 1  # it rounds 16 bits to 8
        assert np.abs(image_to_rgb(source).astype(int) - theirs).max() <= most, encoding


def test_cv_bridge_reads_what_we_publish():
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.images import rgb_to_image

    read = cv_bridge.CvBridge().imgmsg_to_cv2(rgb_to_image(RGB, Header()), desired_encoding="rgb8")
    assert np.array_equal(read, RGB)


def test_the_issue_s_encodings_are_all_there():
    wanted = {"rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422", "yuv422_yuy2"}
    assert wanted | {f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")} <= set(ENCODINGS)


def test_compressed_png_gives_the_pixels_back_and_rubbish_is_refused():
    encoded = cv2.imencode(".png", RGB[..., ::-1])[1]
    source = SimpleNamespace(format="rgb8; png compressed bgr8", data=array.array("B", encoded.tobytes()))
    assert np.array_equal(compressed_to_rgb(source), RGB)
    for rubbish in (b"", b"not an image"):
        source.data = array.array("B", rubbish)
        with pytest.raises(ImageError, match=f"{len(rubbish)} bytes: expected a JPEG or PNG image"):
            compressed_to_rgb(source)


@pytest.mark.parametrize(("width", "height"), [(12000, 9000), (5001, 5000), (16385, 1), (1, 16385)])
def test_images_that_are_too_large_are_refused_before_their_data_is_looked_at(width, height):
    source = SimpleNamespace(width=width, height=height, encoding="rgb8", step=3 * width, is_bigendian=0, data=b"")
    with pytest.raises(ImageError, match=f"size {width}x{height}: expected at most 25 million pixels and sides"):
        image_to_rgb(source)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_images_that_are_too_large_are_refused_before_they_are_decoded(suffix):
    """The size stands in the header: a small file can hold an image of any size."""
    _, encoded = cv2.imencode(suffix, np.zeros((7, 9, 3), np.uint8))
    order = (9, 7) if suffix == ".png" else (7, 9)
    code = ">II" if suffix == ".png" else ">HH"
    data = encoded.tobytes().replace(struct.pack(code, *order), struct.pack(code, 30000, 30000), 1)
    with pytest.raises(ImageError, match="size 30000x30000: expected at most 25 million pixels"):
        compressed_to_rgb(SimpleNamespace(format="", data=array.array("B", data)))


def test_jpegs_with_other_segments_before_their_size_are_read():
    _, encoded = cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = encoded.tobytes()
    comment = b"\xff\xff\xfe" + struct.pack(">H", 2 + 300) + 300 * b"\xff"  # a fill byte, and what looks like markers
    data = data[:2] + comment + data[2:]
    assert compressed_to_rgb(SimpleNamespace(format="jpeg", data=array.array("B", data))).shape == RGB.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_images_are_refused_wherever_they_end(suffix):
    _, encoded = cv2.imencode(suffix, np.zeros((7, 9, 3), np.uint8))
    for end in range(0, 60):
        with pytest.raises(ImageError, match="expected a JPEG or PNG image"):
            compressed_to_rgb(SimpleNamespace(format="", data=array.array("B", encoded.tobytes()[:end])))


def test_built_messages_read_back_the_same():
    pytest.importorskip("sensor_msgs.msg")
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.images import rgb_to_compressed, rgb_to_image

    header = Header(frame_id="camera")
    mirrored = RGB[:, ::-1]  # not contiguous
    built = rgb_to_image(mirrored, header)
    assert (built.encoding, built.step, built.header.frame_id) == ("rgb8", 18, "camera")
    assert np.array_equal(image_to_rgb(built), mirrored)
    flat = np.full((16, 16, 3), (30, 160, 90), dtype=np.uint8)
    assert np.abs(compressed_to_rgb(rgb_to_compressed(flat, header)).astype(int) - flat).max() <= 3


def test_jpegs_of_many_scans_are_refused_before_they_are_decoded():
    """Every scan of a progressive JPEG goes over the whole image: a hundred kilobytes can take hours."""
    _, encoded = cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = encoded.tobytes()
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    bomb = data[:-2] + 200 * last_scan + data[-2:]
    with pytest.raises(ImageError, match=r"JPEG of 2\d\d scans: expected at most 100"):
        compressed_to_rgb(SimpleNamespace(format="jpeg", data=array.array("B", bomb)))
