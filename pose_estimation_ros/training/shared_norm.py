"""Batch normalisation over the batch of all processes, on any device; `nn.SyncBatchNorm` is for GPUs alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.training import processes
from pose_estimation_ros.training.shared_batch import gathered, shared_sum


def share_statistics(network: nn.Module) -> None:
    """Let the batch normalisations of a network, while they train, see the batch of all processes.

    Their weights, statistics and names stay; those that do not train normalise as before.
    """
    if processes.count() == 1:
        return
    for module in network.modules():
        if type(module) in _SHARED:
            module.__class__ = _SHARED[type(module)]  # it keeps its identity: a network may hold it in several places


class _SharedNorm(nn.modules.batchnorm._BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        mean, variance, rows = _statistics(input.detach())
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (rows / (rows - 1.0)), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        weight = torch.ones_like(mean) if self.weight is None else self.weight
        bias = torch.zeros_like(mean) if self.bias is None else self.bias
        return _Normalise.apply(input, weight, bias, mean, variance, rows, self.eps)


class _SharedNorm1d(_SharedNorm, nn.BatchNorm1d):
    pass


class _SharedNorm2d(_SharedNorm, nn.BatchNorm2d):
    pass


_SHARED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _SharedNorm1d, nn.BatchNorm2d: _SharedNorm2d}


def _statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance (C,) of the channels of values (B, C, ...) of all processes, and how many there are.

    Every process says mean and variance of its own, which lose less in float32 than sums of squares would.
    """
    channels = values.shape[1]
    own = torch.batch_norm_update_stats(values.float(), None, None, 0.0)
    rows = own[0].new_tensor([values.numel() // channels])
    means, variances, counts = gathered(torch.cat([*own, rows])[None]).split([channels, channels, 1], dim=1)
    total = counts.sum()
    mean = (means * counts).sum(dim=0) / total
    return mean, ((variances + (means - mean).square()) * counts).sum(dim=0) / total, total


class _Normalise(torch.autograd.Function):
    """Normalise with the statistics of the whole batch, which depend on all of its values.

    With z = (x - m) / s, y = w z + b and the mean E over the batch, the gradient is w / s (g - E[g] - z E[g z]).
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, rows: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, variance, rows)
        ctx.eps = eps
        return F.batch_norm(values, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        values, weight, mean, variance, rows = ctx.saved_tensors
        _, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        scale = (variance + ctx.eps).rsqrt()
        along, level = shared_sum(torch.stack([for_weight, for_bias])) / rows
        shape = [1, -1] + [1] * (values.ndim - 2)
        slope, offset = -weight * scale * scale * along, -weight * scale * (level - mean * scale * along)
        # Two passes over the maps, which are what takes time.
        own = torch.addcmul(offset.view(shape), values, slope.view(shape))
        own = own.addcmul_(gradient, (weight * scale).view(shape))
        return own.to(values.dtype), for_weight, for_bias, None, None, None, None
