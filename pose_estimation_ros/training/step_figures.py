"""The figures of the steps since the last line of the log, fetched from a GPU only when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pose_estimation_ros.geometry.transfer import to_host

LOSS = "loss"


class StepFigures:
    """Collects what steps say of themselves.

    Args:
        device: where the training runs; on a CPU nothing waits, so that every figure is read at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.values: dict[str, list[float | Tensor]] = {}  # by name, one of every step; a checkpoint keeps them

    @property
    def steps(self) -> int:
        """Number of steps since the figures were cleared."""
        return len(self.values.get(LOSS, ()))

    def add(self, loss: Tensor, values: Mapping[str, float | Tensor]) -> None:
        """Take the loss of a step and its other figures."""
        for key, value in {LOSS: loss, **values}.items():
            self.values.setdefault(key, []).append(value.detach() if isinstance(value, Tensor) else float(value))
        if self._device.type == "cpu":
            self._read()

    def check(self, samples: int) -> None:
        """Fetch what a GPU knows, with one wait for all of it.

        Raises:
            FloatingPointError: if a loss is not finite.
        """
        if self._read():
            for loss in self.values[LOSS]:
                refuse_infinite(float(loss), samples)

    def means(self) -> dict[str, float]:
        """Return the mean of every figure; after `check`."""
        return {key: float(sum(items)) / len(items) for key, items in self.values.items()}

    def clear(self) -> None:
        """Begin anew."""
        self.values.clear()

    def _read(self) -> bool:
        """Turn tensors into numbers; tell whether there were any."""
        lists = self.values.values()
        asked = [value for values in lists for value in values if isinstance(value, Tensor)]
        if not asked:
            return False
        known = iter(to_host(torch.stack([value.float() for value in asked]))[0].tolist())
        for values in lists:
            values[:] = [next(known) if isinstance(value, Tensor) else value for value in values]
        return True


def refuse_infinite(loss: float, samples: int) -> None:
    """Refuse a loss that is not finite.

    Raises:
        FloatingPointError: if it is not.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"loss is {loss} after {samples} samples; start over with a lower optimiser.learning_rate"
        )
