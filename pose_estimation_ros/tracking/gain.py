"""How much of a new estimate a filter takes, from the errors alone: those of chance cancel, those of motion add up."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.tracking.settings import FilterSettings

_ENOUGH = 4  # errors of an object at rest from which their scatter is known
_ALIKE = 1.8  # deviations of the errors before the newest one, towards where all of them are off
_LEFT_BY_A_MOTION = 1.0 / 16.0  # of the squares of what a few estimates differ by
_SHRINKAGE = 0.1  # of the scatter towards the same in all directions, which a few errors do not show


class AdaptiveGain:
    """Gain of one quantity, position or rotation, of one instance.

    An object at rest is averaged, until the mean of its newest errors is too far off for their scatter, direction by
    direction: depth, which is noisy, hides no motion across. One estimate alone, which may be an outlier, does not
    end the rest: the errors before it must point the same way. In motion the gain is the share of the newest errors
    that points the same way. An instance that has not moved since it was first seen moves when a straight line explains
    nearly all of what its few estimates differ by: of depth alone, every second pair of errors points the same way.

    Args:
        settings: see `FilterSettings`.
        is_new: of an instance that was seen once, and may have moved or not.

    Source: Trigg and Leach, Exponential smoothing with an adaptive response rate, 1967, here for vectors; for rest
    Lowry et al., A multivariate exponentially weighted moving average control chart, Technometrics 34(1), 1992.
    """

    def __init__(self, settings: FilterSettings, is_new: bool = False) -> None:
        self._settings = settings
        self._is_new = is_new
        self._estimates = [np.zeros(3)]  # of a new instance, relative to the first
        self._filtered = np.zeros(3)  # the same of the filtered one
        self._mean = np.zeros(3)
        self._size = 0.0
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._averaged = 1  # estimates of an object at rest that the filtered one is the mean of
        self._squares = np.zeros((3, 3))  # sum of the squares of their errors

    def take(self, error: np.ndarray, at_rest: bool) -> float:
        """Take in what an estimate is off from the filtered one, (3,); return the gain for it, in (0, 1]."""
        memory, before = self._settings.error_memory, self._mean
        self._mean = (1.0 - memory) * self._mean + memory * error
        self._size = (1.0 - memory) * self._size + memory * float(np.linalg.norm(error))
        signal = float(np.linalg.norm(self._mean)) / self._size if self._size > 0.0 else 1.0
        is_known = self._averaged > _ENOUGH
        if self._is_new and not is_known:
            self._estimates.append(self._filtered + error)
            moves = _lie_on_a_line(np.stack(self._estimates))
        else:
            moves = self._is_off(before) if is_known else signal >= self._settings.rest_signal
        if at_rest and not moves:
            self._averaged += 1
            self._squares += (1.0 - 1.0 / self._averaged) * np.outer(error, error)  # the mean before is uncertain, too
            gain = max(1.0 / self._averaged, self._settings.min_rest_gain)
            self._filtered = self._filtered + gain * error
            return gain
        self._is_new = False
        self._begin_anew()
        if is_known and moves:
            self._mean, self._size, signal = error, float(np.linalg.norm(error)), 1.0
        return max(signal, self._settings.min_gain)

    def _is_off(self, before: np.ndarray) -> bool:
        """Tell whether the mean of the newest errors is farther from zero than chance or one outlier takes it.

        Args:
            before: the mean without the newest error, (3,).
        """
        scatter = self._squares / (self._averaged - 1)
        spread = max(float(np.trace(scatter)) / 3.0, float(np.finfo(float).tiny))
        scatter = (1.0 - _SHRINKAGE) * scatter + _SHRINKAGE * spread * np.eye(3)
        memory = self._settings.error_memory
        of_mean = memory / (2.0 - memory) * scatter
        weighted = np.linalg.solve(of_mean, self._mean)
        deviations = np.sqrt(self._mean @ weighted)  # from zero
        return bool(deviations > self._settings.motion_deviations and before @ weighted > _ALIKE * deviations)


def _lie_on_a_line(estimates: np.ndarray) -> bool:
    """Tell whether estimates (n, 3) of frames in a row differ by a motion at one speed rather than by chance."""
    if len(estimates) < 3:
        return False
    times = np.arange(len(estimates)) - 0.5 * (len(estimates) - 1)
    centred = estimates - estimates.mean(axis=0)
    velocity = times @ centred / (times @ times)
    left = float(np.square(centred - times[:, None] * velocity).sum())
    return left < _LEFT_BY_A_MOTION * float(np.square(centred).sum())
