from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.data.camera_chain import compress, demosaic, motion_blur


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures() -> Tensor:
    return torch.rand(6, 3, 32, 48, generator=generator(5))


def test_nothing_happens_to_images_that_are_not_chosen() -> None:
    images = pictures()
    for step in (motion_blur, demosaic, compress):
        assert torch.equal(step(images, 0.0, generator()), images)


def test_motion_smears_along_a_line_and_keeps_the_light() -> None:
    point = torch.zeros(4, 3, 33, 33)
    point[:, :, 16, 16] = 1.0
    smeared = motion_blur(point, 1.0, generator())
    torch.testing.assert_close(smeared.sum(dim=(2, 3)), torch.ones(4, 3))
    for image in smeared[:, 0]:
        rows, columns = (image > 1e-4).nonzero(as_tuple=True)
        spread = torch.stack([rows.float(), columns.float()])
        weights = image[rows, columns]
        centred = spread - (spread * weights).sum(dim=1, keepdim=True)
        assert centred.mul(weights).sum(dim=1).abs().max() < 1e-4  # nothing is shifted
        extents = torch.linalg.eigvalsh((centred * weights) @ centred.T)
        assert extents[0] < 0.6  # thin, however long


def test_a_filter_keeps_plain_colours_and_what_it_measures() -> None:
    plain = torch.tensor([0.2, 0.5, 0.8])[None, :, None, None].expand(2, 3, 16, 16)
    torch.testing.assert_close(demosaic(plain, 1.0, generator()), plain)
    images = pictures()
    seen = demosaic(images, 1.0, generator())
    torch.testing.assert_close(seen[:, 0, 0::2, 0::2], images[:, 0, 0::2, 0::2])
    torch.testing.assert_close(seen[:, 2, 1::2, 1::2], images[:, 2, 1::2, 1::2])
    assert (seen - images).abs().mean() > 0.1


def test_compression_loses_detail_with_its_quality() -> None:
    images = pictures()[:, :1].expand(-1, 3, -1, -1)  # colours lose more than that
    fine, coarse = ((compress(images, 1.0, generator(), (q, q)) - images).abs().mean() for q in (98, 20))
    assert fine < 0.5 * coarse
    smooth = torch.linspace(0.1, 0.9, 48).expand(2, 3, 32, 48)
    torch.testing.assert_close(compress(smooth, 1.0, generator(), (90, 90)), smooth, atol=0.03, rtol=0.0)
