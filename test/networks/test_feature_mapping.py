"""The mapping of features: where it starts, what it maps, what it can learn."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.networks.feature_mapping import FeatureMapping


def scrambled(mapping: FeatureMapping) -> FeatureMapping:
    """Give all weights a value, so that it maps."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in mapping.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return mapping


@pytest.mark.parametrize("shape", [(3, 8), (3, 8, 5, 4)])
def test_it_starts_as_the_identity(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    features = torch.randn(shape)
    (mapped,) = FeatureMapping([8])([features])
    assert torch.equal(mapped, features)


def test_it_learns_from_the_identity() -> None:
    """Zeros at the end of a block must not keep gradients from it."""
    mapping, features = FeatureMapping([8]), torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # the layers before the zeros learn from the second step on
        mapping.zero_grad()
        (mapped,) = mapping([features])
        (mapped - 1.0).square().mean().backward()
        with torch.no_grad():
            for parameter in mapping.parameters():
                parameter -= 0.1 * parameter.grad
    assert all(float(parameter.grad.abs().max()) > 0.0 for parameter in mapping.parameters())


def test_every_position_of_a_map_is_mapped_by_itself() -> None:
    mapping = scrambled(FeatureMapping([6, 4]))
    first, second = torch.randn(2, 6, 3, 3), torch.randn(2, 4, 2, 5)
    maps = mapping([first, second])
    vectors = mapping([first[:, :, 1, 2], second[:, :, 0, 3]])
    torch.testing.assert_close(maps[0][:, :, 1, 2], vectors[0])
    torch.testing.assert_close(maps[1][:, :, 0, 3], vectors[1])
    assert float((maps[0] - first).detach().abs().mean()) > 0.1


def test_gradients_agree_with_finite_differences() -> None:
    mapping = scrambled(FeatureMapping([3])).double()
    features = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mapping([x])[0], (features,))


@pytest.mark.parametrize("channels", [[], [0], [4, 0]])
def test_nothing_to_map_is_refused(channels: list[int]) -> None:
    with pytest.raises(ValueError, match="FeatureMapping: channels"):
        FeatureMapping(channels)


def test_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features of \(4,\) channels, expected \(4, 8\)"):
        FeatureMapping([4, 8])([torch.zeros(1, 4)])
