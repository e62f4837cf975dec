"""Meshes as robots have them keep their size and all their colours, and come back from the bundle as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from pose_estimation_ros.objects.mesh import Mesh, load_mesh
from pose_estimation_ros.objects.mesh_files import companion_files
from pose_estimation_ros.objects.mesh_reading import read_mesh
from pose_estimation_ros.objects.mesh_surface import surface_colors
from pose_estimation_ros.objects.mesh_writing import write_mesh

from .solids import box

RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)
NEEDS = {"reason": "scripts/requirements-train.txt is not installed"}


def quarters(path: Path) -> None:
    """Write a picture: red and green above, blue and white below."""
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    for row, column, color in ((0, 0, RED), (0, 32, GREEN), (32, 0, BLUE), (32, 32, WHITE)):
        picture[row : row + 32, column : column + 32] = np.array(color[::-1]) * 255
    cv2.imwrite(str(path), picture)


def color_at(mesh: Mesh, place: tuple[float, float, float]) -> tuple[float, ...]:
    """Return the colour where a mesh is nearest to a place, in its face with the nearest centre."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    face = int(np.linalg.norm(corners.mean(axis=1) - place, axis=1).argmin())
    weights = np.linalg.lstsq(np.r_[corners[face].T, np.ones((1, 3))], np.r_[place, 1.0], rcond=None)[0]
    return tuple(np.round(surface_colors(mesh, np.array([face]), weights[None])[0], 2).tolist())


def check_quarters(mesh: Mesh) -> None:
    """A plate of 80 mm in the plane z = 0 that shows the picture."""
    low, high = mesh.bounds
    np.testing.assert_allclose(high - low, [0.08, 0.08, 0.0], atol=1e-6)
    for x, y, color in ((0.01, 0.07, RED), (0.07, 0.06, GREEN), (0.01, 0.02, BLUE), (0.07, 0.01, WHITE)):
        assert color_at(mesh, (x, y, 0.0)) == color, (x, y)


PER_VERTEX = """ply
format ascii 1.0
comment TextureFile quarters.png
element vertex 4
property float x
property float y
property float z
property float {u}
property float {v}
element face {faces}
property list uchar int vertex_indices
end_header
0 0 0 0 0
80 0 0 1 0
80 80 0 1 1
0 80 0 0 1
{rows}
"""
PER_FACE = """ply
format ascii 1.0
comment TextureFile quarters.png
element vertex 4
property double x
property double y
property double z
element face 2
property list uchar int vertex_indices
property list uchar float texcoord
end_header
0 0 0
80 0 0
80 80 0
0 80 0
3 0 1 2 6 0 0 1 0 1 1
3 0 2 3 6 0 0 1 1 0 1
"""


@pytest.mark.parametrize(
    "text",
    [
        PER_VERTEX.format(u="texture_u", v="texture_v", faces=2, rows="3 0 1 2\n3 0 2 3"),
        PER_VERTEX.format(u="s", v="t", faces=1, rows="4 0 1 2 3"),
        PER_FACE,
    ],
    ids=["vertices", "polygon", "faces"],
)
def test_ply_with_a_picture_is_read_with_its_colours(tmp_path: Path, text: str) -> None:
    quarters(tmp_path / "quarters.png")
    (tmp_path / "plate.ply").write_text(text)
    assert companion_files(tmp_path / "plate.ply") == [tmp_path / "quarters.png"]
    check_quarters(load_mesh(tmp_path / "plate.ply", "mm"))
    mesh, notes = read_mesh(tmp_path / "plate.ply", "mm")
    check_quarters(mesh)
    assert notes == ()
    write_mesh(tmp_path / "bundle" / "copy.ply", mesh)
    check_quarters(load_mesh(tmp_path / "bundle" / "copy.ply"))


def test_a_picture_that_is_missing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plate.ply").write_text(PER_FACE)
    mesh, notes = read_mesh(tmp_path / "plate.ply", "mm")
    assert mesh.texture is None
    assert "quarters.png" in notes[0]
    assert "quarters.png" in caplog.text


def test_quads_of_which_some_have_no_texture_coordinates_keep_theirs(tmp_path: Path) -> None:
    quarters(tmp_path / "quarters.png")
    vertices = "0 0 0\n80 0 0\n80 80 0\n0 80 0\n0 0 40\n80 0 40\n80 80 40\n0 80 40"
    text = PER_FACE.replace("vertex 4", "vertex 8").partition("end_header\n")[0]
    rows = "4 0 1 2 3 8 0 0 1 0 1 1 0 1\n4 4 5 6 7 0\n"
    (tmp_path / "plates.ply").write_text(f"{text}end_header\n{vertices}\n{rows}")
    mesh = load_mesh(tmp_path / "plates.ply", "mm")
    for x, y, color in ((0.01, 0.07, RED), (0.07, 0.06, GREEN), (0.01, 0.02, BLUE), (0.07, 0.01, WHITE)):
        assert color_at(mesh, (x, y, 0.0)) == color, (x, y)


def test_a_face_of_a_vertex_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = PER_FACE.replace("comment TextureFile quarters.png\n", "").replace("3 0 2 3 6", "3 0 2 9 6")
    (tmp_path / "plate.ply").write_text(text)
    with pytest.raises(ValueError, match=r"plate\.ply: a face names vertex 9, expected 0 to 3"):
        read_mesh(tmp_path / "plate.ply", "mm")


@pytest.mark.parametrize("cut", [-3, -30])
def test_a_ply_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    quarters(tmp_path / "quarters.png")
    (tmp_path / "plate.ply").write_text(PER_FACE)
    write_mesh(tmp_path / "whole.ply", load_mesh(tmp_path / "plate.ply", "mm"))
    content = (tmp_path / "whole.ply").read_bytes()
    (tmp_path / "half.ply").write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"half\.ply"):
        load_mesh(tmp_path / "half.ply")


def obj_of_two_materials(folder: Path) -> Path:
    """Write a textured plate beside one of a plain colour, and one whose texture repeats, millimetres."""
    quarters(folder / "quarters.png")
    (folder / "two.mtl").write_text(
        "newmtl picture\nKd 1 1 1\nmap_Kd quarters.png\n"
        "newmtl paint\nKd 0.2 0.4 0.6\n"
        "newmtl tiles\nmap_Kd quarters.png\n"
    )
    (folder / "two.obj").write_text(
        "mtllib two.mtl\n"
        "v 0 0 0\nv 80 0 0\nv 80 80 0\nv 0 80 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "v 0 0 50\nv 80 0 50\nv 80 80 50\n"
        "v 0 0 90\nv 80 0 90\nv 80 80 90\nvt 0 0\nvt 2 0\nvt 2 2\n"
        "usemtl picture\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\nusemtl paint\nf 5 6 7\nusemtl tiles\nf 8/5 9/6 10/7\n"
    )
    return folder / "two.obj"


def test_obj_with_several_materials_shows_them_all(tmp_path: Path) -> None:
    mesh, _ = read_mesh(obj_of_two_materials(tmp_path), "mm")
    write_mesh(tmp_path / "copy.ply", mesh)
    for item in (mesh, load_mesh(tmp_path / "copy.ply")):
        assert color_at(item, (0.01, 0.07, 0.0)) == RED
        assert color_at(item, (0.07, 0.01, 0.0)) == WHITE
        assert color_at(item, (0.06, 0.03, 0.05)) == (0.2, 0.4, 0.6)
        assert color_at(item, (0.055, 0.01, 0.09)) == BLUE  # repeated: a quarter is 20 mm wide
        assert color_at(item, (0.065, 0.05, 0.09)) == WHITE


def test_glb_is_read_with_the_transforms_of_its_scene(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for name, color, shift in (("left", (255, 0, 0, 255), -0.1), ("right", (0, 0, 255, 255), 0.1)):
        part = trimesh.creation.box(extents=(0.04, 0.04, 0.04))
        part.visual = trimesh.visual.ColorVisuals(part, face_colors=np.tile(color, (12, 1)))
        scene.add_geometry(part, geom_name=name, transform=trimesh.transformations.translation_matrix((shift, 0, 0)))
    scene.export(str(tmp_path / "two.glb"))
    mesh, _ = read_mesh(tmp_path / "two.glb")
    low, high = mesh.bounds
    np.testing.assert_allclose([low[0], high[0]], [-0.12, 0.12], atol=1e-6)
    assert color_at(mesh, (-0.08, 0.005, 0.004)) == RED
    assert color_at(mesh, (0.12, 0.005, 0.004)) == BLUE


def test_collada_says_its_unit_and_what_is_up(tmp_path: Path) -> None:
    pytest.importorskip("collada", **NEEDS)
    part = trimesh.creation.box(extents=(10.0, 20.0, 30.0))
    text = part.export(file_type="dae").decode()
    assert '<unit name="meter" meter="1"/>' in text or "<unit" not in text
    asset = '<unit name="centimeter" meter="0.01"/><up_axis>Y_UP</up_axis>'
    head, _, rest = text.partition("<asset>")
    before, _, after = rest.partition("</asset>")
    before = before.split("<unit")[0].split("<up_axis")[0]
    (tmp_path / "box.dae").write_text(f"{head}<asset>{before}{asset}</asset>{after}")
    mesh, notes = read_mesh(tmp_path / "box.dae")
    low, high = mesh.bounds
    np.testing.assert_allclose(high - low, [0.1, 0.3, 0.2], atol=1e-6)
    assert "y is up" in notes[0]


def test_stl_gets_edges_where_it_has_some(tmp_path: Path) -> None:
    trimesh.creation.box(extents=(80.0, 60.0, 40.0)).export(str(tmp_path / "box.stl"))
    mesh, _ = read_mesh(tmp_path / "box.stl", "mm")
    assert len(mesh.vertices) == 24  # three normals at each of eight corners
    np.testing.assert_allclose(np.abs(mesh.normals).max(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cup.txt", b"a cup", r"cup\.txt: \.txt: expected a mesh"),
        ("cup.ply", b"not a mesh", r"cup\.ply: no PLY file"),
        ("cup.stl", b"", r"cup\.stl: no triangles"),
        ("cup.glb", b"rubbish", r"cup\.glb: cannot be read"),
    ],
)
def test_what_is_no_mesh_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_mesh(tmp_path / name)


def test_vertices_of_no_triangle_do_not_count(tmp_path: Path) -> None:
    mesh = box(0.08, 0.05, 0.02)
    far = np.array([[0.9, 0.9, 0.9]], dtype=np.float32)
    stray = replace(mesh, **{name: np.r_[getattr(mesh, name), far] for name in ("vertices", "normals", "colors")})
    write_mesh(tmp_path / "box.ply", stray)
    found, notes = read_mesh(tmp_path / "box.ply", "m")
    np.testing.assert_allclose(found.bounds, mesh.bounds, atol=1e-6)
    assert notes == ("1 vertices that belong to no triangle are left out",)
    flat = replace(mesh, vertices=np.zeros_like(mesh.vertices))
    write_mesh(tmp_path / "flat.ply", flat)
    with pytest.raises(ValueError, match=r"flat\.ply: no triangles with an area"):
        read_mesh(tmp_path / "flat.ply", "m")


def test_a_wrong_unit_is_told_with_the_right_one(tmp_path: Path) -> None:
    write_mesh(tmp_path / "box.ply", box(80.0, 60.0, 40.0))
    with pytest.raises(ValueError, match="its unit looks like mm"):
        read_mesh(tmp_path / "box.ply")
    assert read_mesh(tmp_path / "box.ply", "mm").mesh.bounds[1][0] == pytest.approx(0.04)


def test_large_textures_are_made_smaller(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "quarters.png"), np.full((1000, 4000, 3), 80, dtype=np.uint8))
    (tmp_path / "plate.ply").write_text(PER_FACE)
    mesh, notes = read_mesh(tmp_path / "plate.ply", "mm")
    assert mesh.texture is not None
    assert mesh.texture.shape == (512, 2048, 3)
    assert "4000 x 1000" in notes[0]
