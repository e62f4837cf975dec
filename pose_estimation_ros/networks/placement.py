"""Where the centre of an object is and how large it appears, regressed from dense maps, each with its uncertainty.

Dense coordinates fix an object's rotation well and its distance badly: the distance lies in their scale, and the errors
of neighbouring cells agree. Regressing the translation beside them is the remedy of CDPN (Li et al., ICCV 2019) and
GDR-Net (Wang et al., CVPR 2021), whose scale-invariant parameters are used here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GRID = 3  # the last map is pooled to so many cells a side, whatever the crop's size
_TYPICAL_LOG_SIZE = -0.4  # objects fill two thirds of their crops
_LOG_SCALES = (-6.0, 1.0)  # limits of the logarithm of the uncertainties


class PlacementHead(nn.Module):
    """Read (B, C, S, S) maps with strided convolutions and a layer that sees all of them.

    Args:
        channels: C.
        embedding: width of the object's embedding.
        width: channels inside.
    """

    def __init__(self, channels: int, embedding: int, width: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels + 2
        for _ in range(3):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(width * _GRID**2 + embedding, 256)
        self.out = nn.Linear(256, 6)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        """Return medians and the logarithms of Laplace scales (B, 6).

        The medians are column and row of the centre, from the crop's centre in crop sides, and the logarithm of the
        apparent diameter in crop sides.
        """
        batch, _, height, width = maps.shape
        x = torch.linspace(-1.0, 1.0, width, device=maps.device).to(maps.dtype)[None, None, None, :]
        y = torch.linspace(-1.0, 1.0, height, device=maps.device).to(maps.dtype)[None, None, :, None]
        x, y = x.expand(batch, 1, height, width), y.expand(batch, 1, height, width)
        maps = self.layers(torch.cat([maps, x, y], dim=1))
        flat = F.adaptive_avg_pool2d(maps, _GRID).flatten(1)
        out = self.out(F.relu(self.hidden(torch.cat([flat, embedding.to(flat.dtype)], dim=1)))).float()
        values = torch.cat([0.3 * out[:, :2], 0.3 * out[:, 2:3] + _TYPICAL_LOG_SIZE], dim=1)
        return torch.cat([values, (out[:, 3:] - 2.5).clamp(*_LOG_SCALES)], dim=1)


def placement_of(centre: Tensor, camera: Tensor, diameter: Tensor, size: int) -> Tensor:
    """Return what a `PlacementHead` should say (B, 3) of objects.

    Args:
        centre: centre of the object's box in camera axes, metres, shape (B, 3).
        camera: intrinsics of the crops, shape (B, 3, 3).
        diameter: of the objects, metres, shape (B,).
        size: side of the crops, pixels.
    """
    focal = camera[:, 0, 0]
    pixel = focal[:, None] * centre[:, :2] / centre[:, 2:] + camera[:, :2, 2]
    offset = (pixel - (size - 1) / 2.0) / size
    return torch.cat([offset, _log_size(centre[:, 2], camera, diameter, size)[:, None]], dim=1)


def depth_of(log_size: Tensor, camera: Tensor, diameter: Tensor, size: int) -> Tensor:
    """Return the depths (B,) in metres at which objects appear as large as said; inverse of `placement_of`."""
    unit = torch.ones_like(log_size)
    return torch.exp(_log_size(unit, camera, diameter, size) - log_size)


def _log_size(depth: Tensor, camera: Tensor, diameter: Tensor, size: int) -> Tensor:
    focal = camera[:, 0, 0]
    # Away from the optical axis the image plane is slanted and things look larger: by 1 / cos^2 along the radius and
    # 1 / cos across, while z is cos times the distance. A crop does not show where it was cut, so this is divided out.
    slope = ((size - 1) / 2.0 - camera[:, :2, 2]) / focal[:, None]
    stretch = 0.25 * torch.log1p((slope**2).sum(dim=1))
    return torch.log(focal * diameter / (depth * size)) + stretch
