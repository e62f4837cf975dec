"""What is wrong with a message that came in."""

from __future__ import annotations


class InputError(ValueError):
    """A message cannot be used.

    Args:
        field: what of the message is wrong.
        text: the field, its value and what was expected.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field

    @property
    def kind(self) -> str:
        """What stays the same while values change: message and field."""
        return f"{type(self).__name__} {self.field}"


class ImageError(InputError):
    """An image message cannot be read."""


class CameraInfoError(InputError):
    """A camera_info cannot be used."""
