"""Neural mesh models: features of an image, and the features that every vertex of a mesh should show.

Wang, Kortylewski and Yuille, "NeMo: Neural Mesh Models of Contrastive Features for Robust 3D Pose Estimation",
ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks.decoder import ModulatedMerge
from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder
from pose_estimation_ros.networks.feature_mapping import FeatureMapping

_STRIDES = {16: 1, 8: 2, 4: 3}  # of the features: steps of the decoder


class MeshTable(NamedTuple):
    """The meshes of a network: M of them, with V vertices and F faces each, filled up with copies of the last."""

    owner: Tensor  # (M,) int64, whose mesh it is: index of the object or category
    vertices: Tensor  # (M, V, 3) metres, object frame
    normals: Tensor  # (M, V, 3) unit
    faces: Tensor  # (M, F, 3) int64
    outline: Tensor  # (M, E, 3) points that reach farthest in all directions, metres
    is_real: Tensor  # (M, V) uint8, 0 for copies
    directions: Tensor  # (D, 3) unit, from the object to cameras
    visible: Tensor  # (M, D, V) uint8, whether nothing of the mesh hides the vertex from there


class NemoNet(nn.Module):
    """Turn crops into maps of unit features, and keep one unit feature for every vertex of every mesh.

    The encoder and the decoder are those of `Pix2PoseNet`, so that their weights can be the first ones.

    Args:
        objects: number of objects and categories.
        meshes: number of meshes.
        vertices: vertices of the largest mesh.
        faces: faces of the largest mesh.
        directions: directions of the visibility table.
        outline: points on the outline of each mesh.
        features: length of a feature.
        clutter: features of things that are no object.
        stride: pixels per feature, 4, 8 or 16.
        frozen: leave the encoder as it is; training is then faster.
        widths: channels of encoder `own`.
        blocks: residual blocks of encoder `own`.
        decoder: channels of the decoder from stride 16 on.
        encoder: its kind, see `make_encoder`.
        mapping: the features of real images are mapped to those of renderings, see `FeatureMapping`.
    """

    owner: Tensor
    vertices: Tensor
    normals: Tensor
    faces: Tensor
    outline: Tensor
    is_real: Tensor
    directions: Tensor
    visible: Tensor
    bank: Tensor
    seen: Tensor
    clutter: Tensor

    def __init__(
        self,
        objects: int,
        meshes: int,
        vertices: int,
        faces: int,
        directions: int = 256,
        outline: int = 96,
        features: int = 128,
        clutter: int = 512,
        stride: int = 8,
        frozen: bool = False,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        decoder: Sequence[int] = (192, 128, 64),
        encoder: EncoderKind = "own",
        mapping: bool = False,
    ) -> None:
        super().__init__()
        if stride not in _STRIDES:
            raise ValueError(f"NemoNet: stride {stride}, expected one of {', '.join(map(str, _STRIDES))}")
        self.stride, self.frozen = stride, frozen
        self.encoder = make_encoder(encoder, widths, blocks)
        self.embedding = nn.Embedding(objects, 64)
        *skips, channels = self.encoder.channels
        merges = []
        for skip, out in list(zip(reversed(skips), decoder, strict=True))[: _STRIDES[stride]]:
            merges.append(ModulatedMerge(channels, skip, out, 64))
            channels = out
        self.merges = nn.ModuleList(merges)
        self.head = nn.Conv2d(channels, features, 1, bias=False)
        self.mapping = FeatureMapping(self.encoder.channels) if mapping else None
        self.register_buffer("owner", torch.zeros(meshes, dtype=torch.int64))
        self.register_buffer("vertices", torch.zeros(meshes, vertices, 3))
        self.register_buffer("normals", torch.zeros(meshes, vertices, 3))
        self.register_buffer("faces", torch.zeros(meshes, faces, 3, dtype=torch.int64))
        self.register_buffer("outline", torch.zeros(meshes, outline, 3))
        self.register_buffer("is_real", torch.zeros(meshes, vertices, dtype=torch.uint8))
        self.register_buffer("directions", torch.zeros(directions, 3))
        self.register_buffer("visible", torch.zeros(meshes, directions, vertices, dtype=torch.uint8))
        self.register_buffer("bank", F.normalize(torch.randn(meshes, vertices, features), dim=2))
        self.register_buffer("seen", torch.zeros(meshes, vertices, dtype=torch.int64))  # in how many crops
        self.register_buffer("clutter", F.normalize(torch.randn(clutter, features), dim=1))

    def set_meshes(self, table: MeshTable) -> None:
        """Take over the meshes.

        Raises:
            ValueError: if they are not as many, or not as large, as the network was made for.
        """
        for name, value in table._asdict().items():
            own = getattr(self, name)
            if own.shape != value.shape:
                raise ValueError(f"NemoNet.{name}: shape {tuple(value.shape)}, expected {tuple(own.shape)}")
            own.copy_(value)

    @property
    def features(self) -> Tensor:
        """The unit features (M, V, C) of the vertices; zeros of those that no training saw."""
        return F.normalize(self.bank.float(), dim=2) * (self.seen > 0)[..., None]

    @property
    def known(self) -> Tensor:
        """Which vertices (M, V) are none of the copies, and were seen in training."""
        return (self.is_real > 0) & (self.seen > 0)

    @property
    def background(self) -> Tensor:
        """The unit feature (C,) that stands for everything that is no object: the mean of the clutter's."""
        return F.normalize(self.clutter.float().mean(dim=0), dim=0)

    def forward(self, crops: Tensor, object_index: Tensor, is_real: bool = False) -> Tensor:
        """Return unit features (B, C, S / stride, S / stride) of crops (B, 3, S, S) in [0, 1] of objects (B,).

        What the encoder sees of crops that are real goes through the mapping, if there is one.
        """
        maps = self.encode(crops)
        if is_real and self.mapping is not None:
            maps = self.mapping(maps)
        return self.decode(maps, object_index)

    def encode(self, crops: Tensor) -> list[Tensor]:
        """Return what the encoder sees of crops (B, 3, S, S) in [0, 1], at strides 4 to 32."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.encoder(crops)

    def decode(self, features: Sequence[Tensor], object_index: Tensor) -> Tensor:
        """Return unit features (B, C, S / stride, S / stride) from what the encoder sees."""
        embedding = self.embedding(object_index)
        x = features[3]
        for merge, skip in zip(self.merges, reversed(features[:3]), strict=False):
            x = merge(x, skip, embedding)
        return F.normalize(self.head(x).float(), dim=1)

    def train(self, mode: bool = True) -> NemoNet:
        """Switch between training and inference; a frozen encoder's statistics stay."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def view_weights(self, mesh: Tensor, camera_from_object: Tensor) -> Tensor:
        """Return how much every vertex counts in a view: the cosine of its slant, 0 where it is hidden.

        Args:
            mesh: numbers of the meshes, shape (B,).
            camera_from_object: poses (B, 4, 4).

        Returns:
            (B, V) in [0, 1].
        """
        rotation, shift = camera_from_object[:, :3, :3], camera_from_object[:, :3, 3]
        eye = -torch.einsum("bji,bj->bi", rotation, shift)
        vertices = self.vertices[mesh]
        rays = F.normalize(eye[:, None] - vertices, dim=2)
        centre = (vertices.amin(dim=1) + vertices.amax(dim=1)) / 2.0
        nearest = (F.normalize(eye - centre, dim=1) @ self.directions.T).argmax(dim=1)
        slant = (rays * self.normals[mesh]).sum(dim=2).abs()
        return slant * self.visible[mesh, nearest] * self.is_real[mesh]


def sample_features(features: Tensor, pixels: Tensor, stride: int) -> Tensor:
    """Read features at places of the crops, bilinearly; zeros outside.

    Args:
        features: maps (B, C, h, w).
        pixels: places in the crop, shape (B, N, 2), pixel centres at integers.
        stride: pixels per feature.

    Returns:
        (B, N, C).
    """
    size = pixels.new_tensor([features.shape[3], features.shape[2]])
    grid = (2.0 * (pixels + 0.5) / stride) / size - 1.0
    grid = torch.where(torch.isfinite(grid), grid, torch.full_like(grid, -9.0))
    return F.grid_sample(features, grid[:, None], padding_mode="zeros", align_corners=False)[:, :, 0].transpose(1, 2)
