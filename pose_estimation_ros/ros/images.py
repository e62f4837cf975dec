"""sensor_msgs/Image and CompressedImage to RGB arrays and back.

Plain numpy and OpenCV for the encodings below, with or without cv_bridge: the same pixels everywhere, and no copy where
the encoding allows. cv_bridge, where it is installed, takes any other.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pose_estimation_ros.objects.picture_size import picture_size
from pose_estimation_ros.ros.ecosystem import cv_bridge
from pose_estimation_ros.ros.image_size import refuse_large_images, refuse_many_scans
from pose_estimation_ros.ros.input_error import ImageError


@dataclass(frozen=True)
class Encoding:
    """How the pixels of one encoding lie in memory and how they become RGB."""

    channels: int
    to_rgb: int | None  # OpenCV conversion code; None when the pixels are RGB already
    depth_bytes: int = 1


# ROS names the colours of the first two rows (rggb); these OpenCV constants do the same.
_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}

ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, None),
    "bgr8": Encoding(3, cv2.COLOR_BGR2RGB),
    "8UC3": Encoding(3, cv2.COLOR_BGR2RGB),  # OpenCV's own name, by convention BGR
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, cv2.COLOR_GRAY2RGB),
    "8UC1": Encoding(1, cv2.COLOR_GRAY2RGB),
    "yuv422": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    **{f"bayer_{pattern}8": Encoding(1, code) for pattern, code in _BAYER.items()},
    "mono16": Encoding(1, cv2.COLOR_GRAY2RGB, 2),
    "rgb16": Encoding(3, None, 2),
    "bgr16": Encoding(3, cv2.COLOR_BGR2RGB, 2),
    "rgba16": Encoding(4, cv2.COLOR_RGBA2RGB, 2),
    "bgra16": Encoding(4, cv2.COLOR_BGRA2RGB, 2),
    **{f"bayer_{pattern}16": Encoding(1, code, 2) for pattern, code in _BAYER.items()},
}


def image_to_rgb(message: Any) -> np.ndarray:
    """Read a sensor_msgs/Image.

    16-bit images keep their high byte, which is one level at most from the rounding of cv_bridge. `rgb8` is a view of
    the message, no copy.

    Args:
        message: anything with the fields of sensor_msgs/Image.

    Returns:
        RGB image (H, W, 3) uint8.

    Raises:
        ImageError: if the encoding is unknown, the image is too large or the sizes contradict each other.
    """
    refuse_large_images(message.width, message.height)
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _through_cv_bridge(message)
    pixels = _pixels(message, encoding)
    if encoding.to_rgb is None:
        return pixels
    if encoding.channels == 2 and message.width % 2:
        raise ImageError(
            "width", f"image: width = {message.width}: expected an even number for encoding {message.encoding!r}"
        )
    return cv2.cvtColor(np.ascontiguousarray(pixels) if encoding.channels == 2 else pixels, encoding.to_rgb)


def _pixels(message: Any, encoding: Encoding) -> np.ndarray:
    """Return a view (H, W, C), or (H, W) for one channel, of the message's data as uint8."""
    height, width, step = message.height, message.width, message.step
    data = checked_data(message, width * encoding.channels * encoding.depth_bytes)
    if encoding.depth_bytes == 2:
        high_byte = 0 if message.is_bigendian else 1
        data, strides = data[high_byte:], (step, 2 * encoding.channels, 2)
    else:
        strides = (step, encoding.channels, 1)
    view = np.lib.stride_tricks.as_strided(data, (height, width, encoding.channels), strides)
    view = view if encoding.depth_bytes == 1 else np.ascontiguousarray(view)
    return view[:, :, 0] if encoding.channels == 1 else view


def checked_data(message: Any, row_bytes: int) -> np.ndarray:
    """Return the data of a sensor_msgs/Image as uint8, with rows of at least so many bytes.

    Raises:
        ImageError: if width, height, step and data contradict each other.
    """
    height, width, step = message.height, message.width, message.step
    if height <= 0 or width <= 0:
        raise ImageError("size", f"image: size {width}x{height}: expected positive width and height")
    if step < row_bytes:
        raise ImageError(
            "step",
            f"image: step = {step}: expected at least {row_bytes} bytes for width {width} in {message.encoding!r}",
        )
    data = np.frombuffer(message.data, dtype=np.uint8)
    # The padding after the last row may be missing.
    if not step * (height - 1) + row_bytes <= data.size <= step * height:
        raise ImageError(
            "data", f"image: data has {data.size} bytes: expected {step * height} for height {height} and step {step}"
        )
    return data


def _through_cv_bridge(message: Any) -> np.ndarray:
    library = cv_bridge()
    if library is None:
        text = f"image: encoding = {message.encoding!r}: expected one of {', '.join(sorted(ENCODINGS))}"
        raise ImageError("encoding", text)
    try:
        return np.asarray(library.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8"))
    except Exception as error:
        text = f"image: encoding = {message.encoding!r}: cv_bridge fails with: {error}"
        raise ImageError("encoding", text) from error


def compressed_to_rgb(message: Any) -> np.ndarray:
    """Read a sensor_msgs/CompressedImage (JPEG or PNG).

    A rotation noted in the file is ignored, because camera_info describes the image as the sensor saw it.

    Returns:
        RGB image (H, W, 3) uint8.

    Raises:
        ImageError: if the data cannot be decoded, or the image is too large or too slow to decode.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    content = bytes(data)
    size = picture_size(content)
    if size is not None:
        refuse_large_images(*size)
        refuse_many_scans(content)
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(data, flags) if size is not None else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise ImageError(
            "compressed data",
            f"compressed image: format = {message.format!r}, {data.size} bytes: expected a JPEG or PNG image",
        )
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def rgb_to_image(rgb: np.ndarray, header: Any) -> Any:
    """Build a sensor_msgs/Image in rgb8 from an image (H, W, 3) uint8."""
    from sensor_msgs.msg import Image

    height, width = rgb.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=byte_array(np.ascontiguousarray(rgb)),
    )


def rgb_to_compressed(rgb: np.ndarray, header: Any, quality: int = 95) -> Any:
    """Build a sensor_msgs/CompressedImage (JPEG) from an image (H, W, 3) uint8."""
    from sensor_msgs.msg import CompressedImage

    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=byte_array(encoded))


def byte_array(values: np.ndarray) -> array.array:
    """Copy a contiguous uint8 array into the type that message classes take without checking each byte."""
    data = array.array("B")
    data.frombytes(values.reshape(-1).data)
    return data
