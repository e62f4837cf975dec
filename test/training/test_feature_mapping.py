"""The joint loss: what it teaches the mapping, where gradients flow, and that a collapse is noticed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.networks.feature_mapping import FeatureMapping
from pose_estimation_ros.training.feature_mapping import (
    CollapseError,
    CollapseWatch,
    MappingWeights,
    feature_loss,
    feature_variance,
    joint_loss,
)

FEATURES, POSE, PIXELS = 16, 3, 24


def test_the_unit_is_the_variance_of_features() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4000, 5, generator=generator) * 7.0
    variance = feature_variance([first])
    assert float(variance[0]) == pytest.approx(49.0, rel=0.05)
    assert float(feature_loss([first], [second], variance)) == pytest.approx(2.0, rel=0.05)  # strangers
    assert float(feature_loss([first], [first.mean(dim=0).expand_as(first)], variance)) == pytest.approx(1.0, rel=0.05)
    assert float(feature_loss([second], [second], variance)) == 0.0


def test_variance_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="1 image, expected at least 2"):
        feature_variance([torch.zeros(1, 4)])


def test_no_gradient_flows_into_the_features_of_renderings() -> None:
    mapped, rendered = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    feature_loss([mapped], [rendered], [torch.tensor(1.0)]).backward()
    assert rendered.grad is None and float(mapped.grad.abs().min()) > 0.0


def test_positions_without_weight_do_not_count() -> None:
    real, rendered = torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    real[:, :, :2] = 3.0  # the upper half differs
    weight = torch.zeros(2, 8, 8)
    weight[:, 4:] = 1.0
    unit = [torch.tensor(1.0)]
    assert float(feature_loss([real], [rendered], unit, weight)) == 0.0
    assert float(feature_loss([real], [rendered], unit, 1.0 - weight)) == pytest.approx(9.0)
    assert float(feature_loss([real], [rendered], unit)) == pytest.approx(4.5)


def test_the_weights_say_how_the_losses_are_added() -> None:
    free, features, real = torch.tensor(1.0), torch.tensor(10.0), torch.tensor(100.0)
    assert float(joint_loss(free, features, real, MappingWeights(features=0.5, real=0.25))) == pytest.approx(31.0)


@pytest.mark.parametrize("shape", [(256, FEATURES), (64, FEATURES, 2, 2)])
def test_the_mapping_recovers_a_known_shift(shape: tuple[int, ...]) -> None:
    """A gap in few coefficients, as the paper observes: what reads the features answers as for renderings."""
    generator = torch.Generator().manual_seed(0)
    rendered = torch.randn(shape, generator=generator)
    shift = torch.zeros(FEATURES)
    shift[[2, 5, 11]] = torch.tensor([3.0, -2.0, 4.0])
    scale = torch.ones(FEATURES)
    scale[7] = 0.3
    across = (1, FEATURES, *(1 for _ in shape[2:]))
    real = rendered * scale.reshape(across) + shift.reshape(across)
    torch.manual_seed(0)
    mapping = FeatureMapping([FEATURES])
    optimiser = torch.optim.Adam(mapping.parameters(), lr=3e-3)
    train = slice(0, 3 * len(real) // 4)
    unit = feature_variance([rendered])
    before = float(feature_loss([real], [rendered], unit))
    for _ in range(400):
        loss = feature_loss(mapping([real[train]]), [rendered[train]], unit)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    held_out = slice(train.stop, None)
    with torch.no_grad():
        after = float(feature_loss(mapping([real[held_out]]), [rendered[held_out]], unit))
    assert before > 1.0
    assert after < 0.05 * before


class Domain:
    """Images of poses: renderings, and real ones that look different."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.look = torch.randn(POSE, PIXELS, generator=self.generator)
        self.offset = 2.0 * torch.randn(PIXELS, generator=self.generator)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        pose = torch.rand(count, POSE, generator=self.generator) * 2.0 - 1.0
        return torch.tanh(pose @ self.look), pose

    def real(self, images: Tensor, noise: float = 0.02) -> Tensor:
        return 0.7 * images + self.offset + noise * torch.randn(images.shape, generator=self.generator)


def networks() -> tuple[nn.Module, nn.Module, FeatureMapping]:
    torch.manual_seed(0)
    extractor = nn.Sequential(nn.Linear(PIXELS, 64), nn.ReLU(), nn.Linear(64, FEATURES))
    return extractor, nn.Linear(FEATURES, POSE), FeatureMapping([FEATURES])


def squared(estimated: Tensor, true: Tensor) -> Tensor:
    return (estimated - true).square().mean()


def test_joint_training_with_few_real_images_closes_the_gap_and_keeps_what_was_known() -> None:
    domain = Domain()
    extractor, predictor, mapping = networks()
    optimiser = torch.optim.Adam([*extractor.parameters(), *predictor.parameters()], lr=3e-3)
    for _ in range(400):
        images, poses = domain.draw(64)
        loss = squared(predictor(extractor(images)), poses)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    test_images, test_poses = domain.draw(300)
    test_real = domain.real(test_images)
    with torch.no_grad():
        unmapped = float(squared(predictor(extractor(test_real)), test_poses))
        synthetic_before = float(squared(predictor(extractor(test_images)), test_poses))
    pairs, pair_poses = domain.draw(20)
    real_pairs = domain.real(pairs)
    everything = [*extractor.parameters(), *predictor.parameters(), *mapping.parameters()]
    optimiser = torch.optim.Adam(everything, lr=2e-3)
    watch, weights = CollapseWatch(every=10), MappingWeights()
    for _ in range(400):
        images, poses = domain.draw(64)
        free = extractor(images)
        mapped = mapping([extractor(real_pairs)])
        variance = feature_variance([free])
        watch.check(variance)
        loss = joint_loss(
            squared(predictor(free), poses),
            feature_loss(mapped, [extractor(pairs)], variance),
            squared(predictor(mapped[0]), pair_poses),
            weights,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        mapped_error = float(squared(predictor(mapping([extractor(test_real)])[0]), test_poses))
        synthetic_after = float(squared(predictor(extractor(test_images)), test_poses))
    assert mapped_error < 0.1 * unmapped
    assert synthetic_after < max(2.0 * synthetic_before, 1e-3)


def collapse(stop: bool, steps: int = 600) -> None:
    """Train on the agreement of features alone, and let gradients flow into both sides or not.

    Real images have noise that nothing can map away: features of both sides agree best if they say nothing.
    """
    domain = Domain()
    extractor, _, mapping = networks()
    optimiser = torch.optim.Adam([*extractor.parameters(), *mapping.parameters()], lr=1e-2)
    watch = CollapseWatch(every=10)
    for _ in range(steps):
        images, _ = domain.draw(64)
        rendered = extractor(images)
        watch.check(feature_variance([rendered]))
        (mapped,) = mapping([extractor(domain.real(images, noise=1.0))])
        loss = feature_loss([mapped], [rendered], [torch.tensor(1.0)]) if stop else squared(mapped, rendered)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_features_that_collapse_end_the_training() -> None:
    with pytest.raises(CollapseError, match=r"feature 0: variance .*, at first .*; expected at least 5% of it"):
        collapse(stop=False)


def test_features_of_renderings_that_are_taken_as_given_do_not_collapse() -> None:
    collapse(stop=True)


def test_undefined_features_count_as_collapsed() -> None:
    watch = CollapseWatch(every=1)
    watch.check([torch.tensor(1.0)])
    watch.check([torch.tensor(0.06)])
    with pytest.raises(CollapseError, match="variance nan"):
        watch.check([torch.tensor(float("nan"))])
