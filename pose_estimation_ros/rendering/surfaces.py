"""The surfaces of all meshes of a ray caster, side by side in a few tensors, so that one look-up serves every ray."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh


class Surfaces:
    """What M meshes look like where rays hit them.

    Args:
        meshes: the meshes.
        device: where the rays are.
    """

    def __init__(self, meshes: Sequence[Mesh], device: torch.device) -> None:
        def joined(parts: Sequence[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)

        def before(counts: Sequence[int]) -> Tensor:
            return torch.from_numpy(np.cumsum([0, *counts[:-1]])).to(device)

        first_vertex = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
        self._faces = joined([mesh.faces + start for mesh, start in zip(meshes, first_vertex, strict=False)])
        self._first_face = before([len(mesh.faces) for mesh in meshes])
        looks = [np.concatenate([item.normals, item.colors], axis=1, dtype=np.float32) for item in meshes]
        self._normals_and_colors = joined(looks)  # (V, 6), read together
        textures = [_texture_of(mesh) for mesh in meshes]
        self._is_textured = torch.tensor([texture is not None for texture in textures]).to(device)
        self._textured = sum(texture is not None for texture in textures)
        if self._textured:
            images = [np.zeros((1, 1, 3), dtype=np.float32) if item is None else item[0] for item in textures]
            corners = [
                np.zeros((len(mesh.faces), 3, 2), dtype=np.float32) if item is None else item[1]
                for mesh, item in zip(meshes, textures, strict=True)
            ]
            self._texels, self._corner_uv = joined([item.reshape(-1, 3) for item in images]), joined(corners)
            self._first_texel = before([item.shape[0] * item.shape[1] for item in images])
            self._sides = torch.tensor([[item.shape[1], item.shape[0]] for item in images]).to(device)
        self._all_textured = self._textured == len(meshes)

    def appearance(self, mesh: Tensor, face: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return what faces (R,) of meshes (R,) look like where rays hit them; weights as in `RayHits`.

        Returns:
            Normals (R, 3), not of unit length, and colours (R, 3): the texture's where there is one, else the corners'.
        """
        row = self._first_face[mesh] + face
        normals, plain = _mix(self._normals_and_colors[self._faces[row]], weights).split(3, dim=1)
        if not self._textured:
            return normals, plain
        colors = self._texture(mesh, row, weights)
        return normals, colors if self._all_textured else torch.where(self._is_textured[mesh][:, None], colors, plain)

    def _texture(self, mesh: Tensor, row: Tensor, weights: Tensor) -> Tensor:
        """Read textures bilinearly; beyond the centres of their outermost texels these go on."""
        uv = _mix(self._corner_uv[row], weights)
        sides = self._sides[mesh]
        place = torch.stack([uv[:, 0] % 1.0, 1.0 - uv[:, 1] % 1.0], dim=1) * sides - 0.5
        place = place.clamp(min=0.0).minimum((sides - 1).to(place.dtype))
        low = place.nan_to_num().floor()
        share = place - low
        low = low.long()
        high = (low + 1).minimum(sides - 1)
        start, width = self._first_texel[mesh], sides[:, 0]

        def texel(x: Tensor, y: Tensor) -> Tensor:
            return self._texels[start + y * width + x]

        right, down = share[:, :1], share[:, 1:]
        above = (1.0 - right) * texel(low[:, 0], low[:, 1]) + right * texel(high[:, 0], low[:, 1])
        below = (1.0 - right) * texel(low[:, 0], high[:, 1]) + right * texel(high[:, 0], high[:, 1])
        return (1.0 - down) * above + down * below


def _texture_of(mesh: Mesh) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the picture (h, w, 3) and the places of the corners in it (F, 3, 2), where a mesh has both."""
    return None if mesh.texture is None or mesh.corner_uv is None else (mesh.texture, mesh.corner_uv)


def _mix(corners: Tensor, weights: Tensor) -> Tensor:
    u, v = weights[:, :1], weights[:, 1:]
    first = (1.0 - u - v) * corners[:, 0]
    return first.addcmul_(u, corners[:, 1]).addcmul_(v, corners[:, 2])
