"""Which optimiser trains which weights of a network."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from pose_estimation_ros.training.muon import Muon


def make_optimisers(
    network: nn.Module,
    kind: Literal["adamw", "muon"],
    learning_rate: float,
    weight_decay: float,
    factors: dict[str, float],
) -> list[torch.optim.Optimizer]:
    """Share the parameters out: Muon takes the kernels behind the first layer where it is wanted, AdamW the rest.

    Args:
        network: what they train.
        kind: of the optimiser.
        learning_rate: of the first step; groups have a `factor` on it.
        weight_decay: of what decays: all but biases and the weights of normalisations.
        factors: on the learning rate by prefix of the parameter's name; 0 freezes.
    """
    groups = _parameter_groups(network, kind, weight_decay, factors)
    kernels = [group for group in groups if group["kernels"]]
    others = [group for group in groups if not group["kernels"]]
    optimisers: list[torch.optim.Optimizer] = []
    if others:
        optimisers.append(torch.optim.AdamW(others, lr=learning_rate, fused=True))
    if kernels:
        optimisers.append(Muon(kernels, lr=learning_rate))
    return optimisers


def _parameter_groups(
    network: nn.Module, optimiser: str, weight_decay: float, factors: dict[str, float]
) -> list[dict[str, Any]]:
    """Group parameters by rate factor and kind; biases and normalisation weights do not decay."""
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = next((value for prefix, value in factors.items() if name.startswith(prefix)), 1.0)
        if factor == 0.0:
            parameter.requires_grad_(False)
            continue
        decay = weight_decay if parameter.ndim > 1 else 0.0
        # Orthogonal steps are for maps between features; colours, 3 input channels, are none.
        kernel = optimiser == "muon" and parameter.ndim == 4 and parameter.shape[1] > 3
        groups.setdefault((factor, decay, kernel), []).append(parameter)
    return [
        {"params": items, "factor": factor, "weight_decay": decay, "kernels": kernel}
        for (factor, decay, kernel), items in groups.items()
    ]
