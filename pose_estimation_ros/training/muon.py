"""Muon: momentum whose every matrix is made orthogonal before it is applied, for the weights of hidden layers.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale of the step follows Liu et
al., "Muon is scalable for LLM training", 2025, so that learning rate and decay mean what they mean to AdamW.
PyTorch's own `torch.optim.Muon` takes matrices only; the kernels of a convolution are one here, with a row for each
output channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pose_estimation_ros.networks.precision import runs_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic whose iterates push singular values to 0.7..1.2
_STEPS = 5
_ADAMW_RMS = 0.2  # root mean square of AdamW's usual steps, in units of the learning rate


class Muon(torch.optim.Optimizer):
    """Steps of momentum with all singular values near one.

    Args:
        params: weights of at least two dimensions, or groups of them; the dimensions after the first are joined.
        lr: learning rate, on the scale of AdamW's.
        momentum: share of the running mean that is kept per step; Nesterov's look-ahead is applied.
        weight_decay: decoupled, as in AdamW.

    Raises:
        ValueError: if a weight has fewer than two dimensions.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.ndim < 2:
                    raise ValueError(f"Muon: a weight of shape {tuple(weight.shape)}, expected two or more dimensions")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Apply the gradients once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1.0 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                direction = orthogonalised(ahead.flatten(1)).reshape(weight.shape)
                scale = _ADAMW_RMS * max(len(weight), weight[0].numel()) ** 0.5
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"] * scale)
        return loss


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return nearly the nearest matrix (M, N) with orthonormal rows (M <= N) or columns, by Newton-Schulz iteration.

    Runs in bfloat16 where that is faster. Singular values come out between 0.6 and 1.2, but for those that were below
    a thousandth of the largest.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x.bfloat16() if runs_bfloat16(matrix.device) else x.float()
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
