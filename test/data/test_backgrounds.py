from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes


def test_backgrounds_differ_and_are_reproducible() -> None:
    pool = background_pool(12, 48, seed=1)
    assert torch.equal(pool, background_pool(12, 48, seed=1))
    means = pool.float().mean(dim=(2, 3))
    assert torch.unique(means, dim=0).shape[0] == 12
    assert (pool.float().std(dim=(1, 2, 3)) > 2.0).float().mean() > 0.8  # textured, not blank


def test_own_pictures_are_half_of_the_pool(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((60, 80, 3), (0, 0, 255), np.uint8))
    pool = background_pool(6, 32, folder=tmp_path)
    red = (pool == torch.tensor([255, 0, 0], dtype=torch.uint8)[None, :, None, None]).all(dim=1).all(dim=2).all(dim=1)
    assert red.tolist() == [True, True, True, False, False, False]
    assert background_pool(6, 32, folder=tmp_path, share=1.0).float().mean(dim=(0, 2, 3)).tolist() == [255.0, 0.0, 0.0]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "misspelt"):
        with pytest.raises(FileNotFoundError, match=f"{folder}: no pictures"):
            background_pool(2, 32, folder=folder)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="broken.png: not a readable picture"):
        background_pool(2, 32, folder=tmp_path)


def test_clutter_is_of_graspable_size_and_closed_under_the_seed() -> None:
    meshes = clutter_meshes(10, seed=2)
    sizes = [float(np.linalg.norm(np.subtract(*mesh.bounds[::-1]))) for mesh in meshes]
    assert min(sizes) >= 0.049 and max(sizes) <= 0.251
    again = clutter_meshes(10, seed=2)
    assert all(
        np.array_equal(a.vertices, b.vertices) and np.array_equal(a.colors, b.colors)
        for a, b in zip(meshes, again, strict=True)
    )


def test_clutter_is_drawn_from_mesh_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FileNotFoundError, match="no meshes"):
        clutter_meshes(2, folder=tmp_path)
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(ValueError, match="none of its meshes can be read"):
        clutter_meshes(2, folder=tmp_path)
    (tmp_path / "deep").mkdir()
    corners = "v 0 0 0\nv 70 0 0\nv 0 40 0\nv 0 0 90\n"
    (tmp_path / "deep" / "huge.obj").write_text(corners + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    meshes = clutter_meshes(5, seed=1, folder=tmp_path)
    assert len(meshes) == 5 and "points.obj" in caplog.text
    for mesh in meshes:
        assert 0.049 <= float(np.linalg.norm(np.subtract(*mesh.bounds))) <= 0.251
        np.testing.assert_allclose(np.mean(mesh.bounds, axis=0), 0.0, atol=1e-6)
