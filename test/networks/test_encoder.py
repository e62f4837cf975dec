"""Encoders: both kinds give maps of the same sizes; EfficientNet-Lite0 sees what TensorFlow's padding lets it see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_estimation_ros.networks.efficientnet_lite import ConvNorm, EfficientNetLite0
from pose_estimation_ros.networks.encoder import make_encoder
from pose_estimation_ros.networks.precision import autocast, use_precision

CPU = torch.device("cpu")
STRIDES = (4, 8, 16, 32)


def lite0(stages: int = 4) -> EfficientNetLite0:
    """Return an encoder with the statistics of its own maps, and weights of normalisation as no fresh one has."""
    torch.manual_seed(0)
    encoder = EfficientNetLite0(stages)
    norms = [module.norm for module in encoder.modules() if isinstance(module, ConvNorm)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 1.0
    with torch.no_grad():
        encoder(torch.rand(4, 3, 64, 64))
    return encoder


def randomise(layer: ConvNorm) -> ConvNorm:
    norm = layer.norm
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    for value in (norm.bias, norm.running_mean):
        torch.nn.init.normal_(value, std=0.1)
    torch.nn.init.uniform_(norm.running_var, 0.02, 0.1)
    return layer


@settings(max_examples=12, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), stages=st.integers(1, 4))
def test_maps_have_the_sizes_of_the_other_kind(height: int, width: int, stages: int):
    """Sides that the strides do not divide included."""
    image = torch.rand(1, 3, height, width)
    one, other = make_encoder("own", stages=stages), make_encoder("lite0", stages=stages)
    with torch.inference_mode():
        assert [item.shape[2:] for item in one.eval()(image)] == [item.shape[2:] for item in other.eval()(image)]


def test_channels_and_strides_are_those_of_the_maps():
    encoder = lite0().eval()
    with torch.inference_mode():
        maps = encoder(torch.rand(2, 3, 64, 96))
    assert encoder.channels == (24, 40, 112, 320)
    expected = [(2, width, 64 // stride, 96 // stride) for width, stride in zip(encoder.channels, STRIDES, strict=True)]
    assert [tuple(item.shape) for item in maps] == expected
    assert all(item.std() > 0.0 for item in maps)


@pytest.mark.parametrize(("stage", "sees"), [(0, 19), (1, 67)])
def test_the_receptive_field_is_centred_at_the_last_pixel_of_a_cell(stage: int, sees: int):
    """Zeros lie behind the map alone, or one more behind it than before it, at every halving."""
    encoder, stride = lite0(stages=stage + 1).eval(), STRIDES[stage]
    image = torch.rand(1, 3, 192, 192, requires_grad=True)
    row, column = 9, 12
    encoder(image)[stage][0, :, row, column].abs().sum().backward()
    touched = image.grad.abs().sum(dim=(0, 1))
    for axis, cell in ((1, row), (0, column)):
        seen = torch.nonzero(touched.sum(dim=axis))[:, 0]
        centre = stride * cell + stride - 1
        assert (int(seen.min()), int(seen.max())) == (centre - sees // 2, centre + sees // 2)


def test_fewer_stages_are_the_first_of_all():
    whole, part = lite0().eval(), EfficientNetLite0(stages=2).eval()
    missing = part.load_state_dict(whole.state_dict(), strict=False).missing_keys
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert missing == []
        for one, other in zip(part(image), whole(image), strict=False):
            assert torch.equal(one, other)


def test_dilated_maps_hold_those_of_the_strides_they_leave_out():
    """Cell i of a map at stride 16 sees what cell 2 i + 1 of the dilated one at stride 8 does, at the rim as well."""
    whole, dilated = lite0(stages=3).eval(), EfficientNetLite0(stages=3, blocks=(3, 2, 5), last_stride=8).eval()
    left_out = dilated.load_state_dict(whole.state_dict(), strict=False).unexpected_keys
    assert left_out and all(name.startswith("stages.2.5.") for name in left_out)
    whole.stages[2] = whole.stages[2][:5]
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        *first, strided = whole(image)
        *same, fine = dilated(image)
    assert all(torch.equal(one, other) for one, other in zip(first, same, strict=True))
    assert fine.shape[2:] == (8, 12)
    torch.testing.assert_close(fine[:, :, 1::2, 1::2], strided, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("keeps_last", [False, True])
def test_one_pass_is_padding_convolution_and_normalisation(kernel: int, stride: int, keeps_last: bool):
    layer = randomise(ConvNorm(6, 6, kernel, stride, 6, keeps_last)).double().eval()
    maps = torch.randn(2, 6, 12, 16, dtype=torch.float64)
    before = (kernel - stride) // 2
    padded = F.pad(maps, (before, kernel - stride - before) * 2)
    separate = layer.norm(F.conv2d(padded, layer.conv.weight, None, stride, 0, 1, 6))
    torch.testing.assert_close(layer(maps), separate)
    torch.testing.assert_close(layer.fused()(maps), separate)


def test_a_dilated_pass_can_be_fused():
    layer = randomise(ConvNorm(6, 6, 5, 1, 6, dilation=2)).double().eval()
    maps = torch.randn(2, 6, 12, 16, dtype=torch.float64)
    separate = layer.norm(F.conv2d(maps, layer.conv.weight, None, 1, 4, 2, 6))
    torch.testing.assert_close(layer(maps), separate)
    torch.testing.assert_close(layer.fused()(maps), separate)


def test_gradients_through_given_statistics_are_exact():
    layer = randomise(ConvNorm(2, 3, 3, 2)).double().eval()
    maps = torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda item, *_: layer(item), (maps, *layer.parameters()))


def test_bfloat16_gives_nearly_the_gradients_of_float32():
    """Depthwise kernels go through float32 on processors."""
    layer = randomise(ConvNorm(8, 8, 5, 2, 8)).eval()
    maps, wanted = torch.randn(2, 8, 16, 16), torch.randn(2, 8, 8, 8)
    found = []
    for precision in ("float32", "bfloat16"):
        layer.zero_grad()
        with use_precision(precision), autocast(CPU):
            out = layer(maps.bfloat16() if precision == "bfloat16" else maps)
        (out.float() * wanted).sum().backward()
        found.append([value.grad.clone() for value in layer.parameters()])
        assert out.dtype == (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 0.02 * one.norm()


@pytest.mark.parametrize("training", [True, False])
def test_every_parameter_has_a_gradient(training: bool):
    encoder = lite0().train(training)
    sum(item.square().mean() for item in encoder(torch.rand(2, 3, 64, 64))).backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0.0 for value in encoder.parameters())


def test_the_layout_in_memory_changes_nothing_and_stays():
    encoder, image = lite0().eval(), torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        plain = encoder(image)
        encoder.to(memory_format=torch.channels_last)
        other = encoder(image.contiguous(memory_format=torch.channels_last))
    for one, two in zip(plain, other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
        assert two.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "vgg"}, "encoder = 'vgg': expected one of own, lite0"),
        ({"kind": "lite0", "widths": [8, 8, 8, 8]}, r"widths = \(8, 8, 8, 8\): encoder 'lite0' has its own"),
        ({"kind": "lite0", "blocks": [3, 2, 7], "stages": 3}, r"blocks = \(3, 2, 7\): .* at most \(3, 2, 6\)"),
        ({"kind": "lite0", "blocks": [3, 2, 0], "stages": 3}, r"blocks = \(3, 2, 0\): expected at least one"),
        ({"kind": "lite0", "blocks": [3, 2]}, r"blocks = \(3, 2\): .* at most \(3, 2, 6, 5\)"),
        ({"kind": "lite0", "last_stride": 6}, r"last_stride = 6: expected one of \(4, 8, 16, 32\)"),
        ({"kind": "own", "last_stride": 8}, "last_stride = 8: encoder 'own' has strides of 4, 8, 16 and 32"),
        ({"kind": "lite0", "stages": 5}, "stages = 5: expected 1 to 4"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        make_encoder(**arguments)
