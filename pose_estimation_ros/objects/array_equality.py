"""Equality of dataclasses that hold arrays, whose own comparison has no single answer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


class ArrayEquality:
    """Gives a dataclass with `eq=False` an equality by its fields; arrays are equal where all their entries are.

    Such objects have no hash.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_equal(getattr(self, item.name), getattr(other, item.name)) for item in fields(self))  # type: ignore[arg-type]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)
