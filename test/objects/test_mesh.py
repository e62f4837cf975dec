"""Meshes: what is read, and what is refused by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose_estimation_ros.objects.mesh import diameter, load_mesh, load_vertices, sample_surface

CUBE_VERTICES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_FACES = [
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
]  # fmt: skip


def write_ply(path, vertices, faces, colors=None):
    lines = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {name}" for name in ("red", "green", "blue")] if colors is not None else []
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    extra = [[]] * len(vertices) if colors is None else colors
    lines += [
        " ".join(str(value) for value in [*vertex, *color]) for vertex, color in zip(vertices, extra, strict=True)
    ]
    lines += [" ".join(str(value) for value in (3, *face)) for face in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_reads_millimetres_and_colors(tmp_path):
    colors = [[255, 0, 51]] * 8
    mesh = load_mesh(write_ply(tmp_path / "cube.ply", CUBE_VERTICES * 80.0, CUBE_FACES, colors), unit="mm")
    low, high = mesh.bounds
    np.testing.assert_allclose(low, 0.0)
    np.testing.assert_allclose(high, 0.08, rtol=1e-6)
    np.testing.assert_allclose(mesh.colors, np.tile([1.0, 0.0, 0.2], (8, 1)), atol=1e-6)
    outward = np.sum(mesh.normals * (mesh.vertices - 0.04), axis=1)
    assert (outward > 0.05).all()


def test_vertices_to_measure_on_are_not_rounded(tmp_path):
    path = write_ply(tmp_path / "cube.ply", CUBE_VERTICES * 81.0, CUBE_FACES)
    vertices = load_vertices(path, unit="mm", diameter_m=0.081 * np.sqrt(3))
    np.testing.assert_allclose(vertices, CUBE_VERTICES * 0.081, rtol=0, atol=1e-16)
    np.testing.assert_allclose(vertices, load_mesh(path, unit="mm").vertices, rtol=1e-6)
    with pytest.raises(ValueError, match="unit"):
        load_vertices(path, unit="m")


def test_reads_texture_of_obj(tmp_path):
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:4] = (0, 0, 255)  # upper half red, OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "skin.png"), image)
    (tmp_path / "skin.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (tmp_path / "plate.obj").write_text(
        "mtllib skin.mtl\nusemtl skin\nv 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nvt 0 0.6\nvt 1 0.6\nvt 0 1\nf 1/1 2/2 3/3\n"
    )
    mesh = load_mesh(tmp_path / "plate.obj")
    assert mesh.texture is not None and mesh.corner_uv is not None
    np.testing.assert_allclose(np.sort(mesh.corner_uv[0, :, 1]), [0.6, 0.6, 1.0], atol=1e-6)
    red_above = mesh.texture[:4, :, 0].mean() - mesh.texture[4:, :, 0].mean()
    assert red_above == pytest.approx(1.0)


@pytest.mark.parametrize(("unit", "looks_like"), [("m", "mm"), ("cm", "mm")])
def test_wrong_unit_is_refused_by_name(tmp_path, unit, looks_like):
    path = write_ply(tmp_path / "part.ply", CUBE_VERTICES * 60.0, CUBE_FACES)
    with pytest.raises(ValueError, match=rf"part\.ply.*read as {unit}.*unit looks like {looks_like}"):
        load_mesh(path, unit=unit, diameter_m=0.06 * np.sqrt(3))


def test_a_metre_mesh_read_as_millimetres_is_refused_without_a_diameter(tmp_path):
    path = write_ply(tmp_path / "part.ply", CUBE_VERTICES * 0.1, CUBE_FACES)
    with pytest.raises(ValueError, match=r"part\.ply.*read as mm"):
        load_mesh(path, unit="mm")


def test_nothing_to_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.ply"):
        load_mesh(tmp_path / "gone.ply")
    cloud = write_ply(tmp_path / "cloud.ply", CUBE_VERTICES * 0.1, [])
    with pytest.raises(ValueError, match=r"cloud\.ply: no triangles"):
        load_mesh(cloud)
    with pytest.raises(ValueError, match="inch"):
        load_mesh(write_ply(tmp_path / "cube.ply", CUBE_VERTICES * 0.1, CUBE_FACES), unit="inch")


def test_diameter_is_the_longest_diagonal():
    assert diameter(CUBE_VERTICES) == pytest.approx(np.sqrt(3))
    assert diameter(np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [1, 1, 0]])) == pytest.approx(5.0)  # flat


def test_samples_lie_evenly_on_the_surface(tmp_path):
    mesh = load_mesh(write_ply(tmp_path / "cube.ply", CUBE_VERTICES * [0.1, 0.1, 0.05], CUBE_FACES))
    points = sample_surface(mesh, 20000, seed=3)
    gap = np.min(np.abs(np.concatenate([points, points - [0.1, 0.1, 0.05]], axis=1)), axis=1)
    assert gap.max() < 1e-6
    on_floor = np.mean(points[:, 2] < 1e-6)  # one of the two large faces: 0.01 of 0.04 square metres
    assert on_floor == pytest.approx(0.25, abs=0.015)
    np.testing.assert_array_equal(points, sample_surface(mesh, 20000, seed=3))
