"""The running average of a network's weights: less noisy than the last ones, and what is shipped."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_EARLY_SHARE = 0.25  # of what was seen, that the average forgets over as long as that is less than its memory


class WeightAverage:
    """An exponential average of all weights and statistics of a network, in float32.

    Early in a training it forgets faster, over a quarter of what was seen: the weights it began with are soon gone.

    Args:
        network: whose weights are averaged, beginning with those that it has.
        memory_samples: the average forgets over so many samples.

    Attributes:
        values: the averages by name; counters have their newest value.
    """

    def __init__(self, network: nn.Module, memory_samples: int) -> None:
        self.memory_samples = memory_samples
        self.values = {
            key: value.detach().clone().float() if value.is_floating_point() else value.detach().clone()
            for key, value in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, count: int, samples: int) -> None:
        """Take in the weights after a step.

        Args:
            network: after the step.
            count: samples of the step.
            samples: seen in all, with those of the step.
        """
        keep = math.exp(-count / min(self.memory_samples, _EARLY_SHARE * samples + count))
        state = network.state_dict()
        floats = [key for key, value in state.items() if value.is_floating_point()]
        counters = [key for key in state if key not in floats]
        torch._foreach_lerp_([self.values[key] for key in floats], [state[key].float() for key in floats], 1.0 - keep)
        if counters:
            torch._foreach_copy_([self.values[key] for key in counters], [state[key] for key in counters])

    def state(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the averages as a state of the network, in the types of its own."""
        return {key: self.values[key].to(value.dtype) for key, value in network.state_dict().items()}
