"""Bundles from strangers: what would leave the folder, or take memory or time without end, is refused by name."""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import nn

from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError, load_bundle, save_bundle
from pose_estimation_ros.objects.bundle_file import NetworkEntry, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.objects.mesh_reading import read_mesh

PACKAGE = Path(__file__).parents[2] / "pose_estimation_ros"
BOUNDS = ((0.0, 0.0, 0.0), (0.1, 0.1, 0.1))
TETRAHEDRON = "0 0 0\n0.1 0 0\n0 0.1 0\n0 0 0.1\n"
FACES = "3 0 2 1\n3 0 1 3\n3 1 2 3\n3 0 3 2\n"


def ply(vertices: int = 4, faces: int = 4, body: str = TETRAHEDRON + FACES, extra: str = "", coder: str = "uchar"):
    return (
        f"ply\nformat ascii 1.0\n{extra}element vertex {vertices}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {faces}\nproperty list {coder} int vertex_indices\nend_header\n{body}"
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    catalog = Catalog((ObjectModel(1, "box", 0.1732, BOUNDS, Path("box.ply")),))
    made = Bundle(tmp_path / "shop", "shop", catalog, {}, PosePrior())
    save_bundle(made)
    (made.path / "meshes").mkdir()
    (made.path / "meshes/box.ply").write_text(ply())
    return made


def change(bundle: Bundle, edit: Any) -> None:
    file = bundle.path / BUNDLE_FILE
    content = yaml.safe_load(file.read_text())
    edit(content)
    file.write_text(yaml.safe_dump(content))


def bomb(first: str, layout: str) -> str:
    """Return YAML of nine lines, each of which stands for nine times as much as the one before."""
    lines = [f"a: &a {first}"]
    for name, after in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{after}: &{after} " + layout.format(", ".join(9 * [f"*{name}"])))
    return "\n".join(lines)


NETWORK = {"file": "a.safetensors", "sha256": "0" * 64, "input_size": 64}


class TestBundleFile:
    @pytest.mark.parametrize("name", ["../box.ply", "/etc/passwd", "a/../../b.ply", "C:\\box.ply", "..\\box.ply", ""])
    @pytest.mark.parametrize("field", ["mesh", "instances", "meshes", "file"])
    def test_paths_that_leave_the_folder_are_refused(self, bundle: Bundle, name: str, field: str) -> None:
        def edit(content: Any) -> None:
            if field == "file":
                content["networks"] = {"pix2pose": NETWORK | {"file": name}}
            elif field == "meshes":
                content["meshes"] = name
            else:
                content["objects"][0][field] = [name] if field == "instances" else name

        change(bundle, edit)
        with pytest.raises(BundleError, match=rf"bundle\.yaml: .*{field}.* relative path that stays inside the folder"):
            load_bundle(bundle.path)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[" * 100_000, "line 1: nested deeper than 40 levels"),
            (bomb("[x, x, x, x, x, x, x, x]", "[{}]"), "line 6: more than 200000 values once aliases are written out"),
            (bomb("{x: 1}", "{{<<: [{}]}}"), "more than 200000 values"),
            ("a: &a [*a]", "alias 'a' refers to itself"),
            ("a: " + "1:" * 20_000 + "1", "a value of 40001 characters: expected at most 10000"),
            ("a: [" + 260_000 * "1, " + "1]", "more than 200000 values"),
            ("#" * 1_000_001, "1.0 MB: expected at most 1 MB"),
            ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ],
        ids=["nesting", "aliases", "merged keys", "a loop", "a long value", "many values", "a large file", "code"],
    )
    def test_yaml_bombs_are_refused(self, bundle: Bundle, text: str, said: str) -> None:
        (bundle.path / BUNDLE_FILE).write_text(text)
        with pytest.raises(BundleError, match=rf"bundle\.yaml: (?s:.*){said}"):
            load_bundle(bundle.path)

    def test_aliases_of_a_moderate_file_are_read(self, bundle: Bundle) -> None:
        text = (bundle.path / BUNDLE_FILE).read_text()
        assert "[0.1, 0.1, 0.1]" in text
        text = text.replace("[0.0, 0.0, 0.0]", "&low [0.0, 0.0, 0.0]") + "settings: {a: *low}\n"
        (bundle.path / BUNDLE_FILE).write_text(text.replace("settings: {}\n", ""))
        assert load_bundle(bundle.path).settings == {"a": [0.0, 0.0, 0.0]}

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda entry: entry.update(input_size=100_000), "input_size = 100000: .* less than or equal to 2048"),
            (lambda entry: entry.update(architecture={"widths": [8, 10**12]}), "expected numbers of at most 100000"),
        ],
    )
    def test_networks_without_end_are_refused(self, bundle: Bundle, edit: Any, said: str) -> None:
        entry = dict(NETWORK)
        edit(entry)
        change(bundle, lambda content: content.update(networks={"pix2pose": entry}))
        with pytest.raises(BundleError, match=r"bundle\.yaml: networks\.pix2pose\..*" + said):
            load_bundle(bundle.path)

    def test_symmetries_that_are_not_finite_are_refused(self, bundle: Bundle) -> None:
        change(bundle, lambda content: content["objects"][0].update(discrete_symmetries=[[float("nan")] * 16]))
        with pytest.raises(BundleError, match=r"objects\.0\.discrete_symmetries\.0\.0 = nan: .* finite"):
            load_bundle(bundle.path)

    def test_a_wrong_value_of_any_size_is_told_in_one_short_line(self, bundle: Bundle) -> None:
        change(bundle, lambda content: content.update(pose_prior={f"key{i}": i for i in range(300)}))
        with pytest.raises(BundleError) as caught:
            load_bundle(bundle.path)
        assert len(str(caught.value)) < 500


def short(value: Any) -> str:
    """Return how a value begins, for the name of a test."""
    return repr(value)[:24]


def with_weights(bundle: Bundle, content: bytes, **architecture: Any) -> Bundle:
    (bundle.path / "net.safetensors").write_bytes(content)
    entry = NetworkEntry(
        file="net.safetensors", sha256=hashlib.sha256(content).hexdigest(), architecture=architecture, input_size=8
    )
    return replace(bundle, networks={"net": entry})


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


class TestWeights:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            safetensors({}, length=2**60),
            safetensors({"a": {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 4]}}, bytes(4)),
            safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(400)),
            safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
            pickle.dumps({"a": 1}),
        ],
        ids=short,
    )
    def test_files_that_contradict_themselves_are_refused(self, bundle: Bundle, content: bytes) -> None:
        with pytest.raises(BundleError, match=r"net\.safetensors: not a safetensors file: "):
            with_weights(bundle, content).weights("net")

    def test_a_network_larger_than_its_weights_is_refused(self, bundle: Bundle) -> None:
        """3.6 GB if it was filled."""
        content = safetensors({"weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}, bytes(4))
        made = with_weights(bundle, content, width=30_000)
        with pytest.raises(
            BundleError,
            match=r"net\.safetensors: weights do not fit the architecture: 30000x30000 numbers more than its",
        ):
            made.load_network("net", lambda _, width: nn.Linear(width, width, bias=False), torch.device("cpu"))


class TestMeshes:
    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("a.ply", ply(faces=10**8), "100,000,000 triangles: expected at most 5,000,000"),
            ("a.ply", ply(vertices=10**8), "100,000,000 vertices: expected at most 5,000,000"),
            ("a.ply", ply(vertices=4_000_000), "ends before its data do: its header asks for 24,0.* bytes"),
            ("a.ply", ply(extra=f"element ghost {10**15}\nproperty float x\n"), "ends before its data do"),
            ("a.ply", ply(body=TETRAHEDRON + "3 0 2 1 3 0 1 3\n" + FACES), "face 0: 8 values on its line: expected 4"),
            ("a.ply", ply(faces=1, body=TETRAHEDRON + "9000" + " 0 1 2" * 3000, coder="int"), "a face of 9000 corners"),
            ("a.ply", ply(vertices="-4"), "element vertex -4: expected a name and a number"),
            ("a.ply", ply(body=TETRAHEDRON.replace("0.1", "nan") + FACES), "contains NaN or infinite vertices"),
            ("a.ply", ply(coder="float"), "expected whole numbers as lengths of lists"),
            ("a.off", f"OFF\n{10**8} 4 6\n" + TETRAHEDRON + FACES, "100,000,000 vertices: expected at most"),
            ("a.off", "OFF\n4 4000000 6\n" + TETRAHEDRON + FACES, "ends before its 4 vertices and 4,000,000 faces do"),
            ("a.off", "OFF\n4 1 6\n" + TETRAHEDRON + "9000" + " 0 1 2" * 3000 + "\n", "a face of 9000 corners"),
            ("a.obj", "v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf" + " 1 2 3 \\\n" * 3000, "a face of 9000 corners"),
            ("a.fbx", "", r"\.fbx: expected a mesh, one of \.ply, \.obj, \.stl, \.off"),
        ],
        ids=short,
    )  # fmt: skip
    def test_meshes_without_end_are_refused(self, tmp_path: Path, name: str, content: str, said: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=rf"{name}: .*{said}"):
            load_mesh(tmp_path / name)

    def test_stl_of_many_facets_and_files_of_many_bytes_are_refused(self, tmp_path: Path) -> None:
        for name, facets, said in (("a.stl", 6_000_000, "6,000,000 triangles"), ("b.stl", 20_000_000, "1,000.0 MB")):
            with (tmp_path / name).open("wb") as file:  # sparse
                file.write(bytes(80) + struct.pack("<I", facets))
                file.truncate(84 + 50 * facets)
            with pytest.raises(ValueError, match=rf"{name}: {said}: expected at most"):
                load_mesh(tmp_path / name)

    def test_binary_polygons_are_counted_wherever_they_stand(self, tmp_path: Path) -> None:
        header = ply(faces=3, body="", coder="uint").replace("ascii", "binary_little_endian").encode()
        points = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], dtype="<f4").tobytes()
        triangle = struct.pack("<I3i", 3, 0, 1, 2)
        polygon = struct.pack("<I", 9000) + struct.pack("<3i", 0, 1, 2) * 3000
        (tmp_path / "good.ply").write_bytes(header + points + triangle + struct.pack("<I4i", 4, 0, 1, 2, 3) + triangle)
        assert len(load_mesh(tmp_path / "good.ply").faces) == 4
        (tmp_path / "bad.ply").write_bytes(header + points + triangle + polygon + triangle)
        with pytest.raises(ValueError, match=r"bad\.ply: a face of 9000 corners: expected triangles or small polygons"):
            load_mesh(tmp_path / "bad.ply")
        (tmp_path / "cut.ply").write_bytes(header + points + triangle + polygon[:20_000])
        with pytest.raises(ValueError, match=r"cut\.ply: ends before its data do"):
            load_mesh(tmp_path / "cut.ply")


def picture(path: Path, width: int, height: int) -> None:
    """Write a small file that says it is so large."""
    code = ">II" if path.suffix == ".png" else ">HH"
    order = (9, 7) if path.suffix == ".png" else (7, 9)
    data = cv2.imencode(path.suffix, np.zeros((7, 9, 3), np.uint8))[1].tobytes()
    size = (width, height) if path.suffix == ".png" else (height, width)
    path.write_bytes(data.replace(struct.pack(code, *order), struct.pack(code, *size), 1))


class TestTextures:
    @pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (50_000, 1), (9_000, 9_000)])
    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_large_pictures_are_refused(self, tmp_path: Path, suffix: str, width: int, height: int) -> None:
        picture(tmp_path / f"skin{suffix}", width, height)
        (tmp_path / "a.ply").write_text(ply(extra=f"comment TextureFile skin{suffix}\n"))
        (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n")
        (tmp_path / "a.mtl").write_text(f"newmtl m\nnorm -bm 0.2 skin{suffix}\n")
        for mesh in ("a.ply", "a.obj"):
            for read in (load_mesh, read_mesh):
                with pytest.raises(ValueError, match=rf"skin\{suffix}: texture of {width}x{height} pixels: expected"):
                    read(tmp_path / mesh)

    def test_pictures_of_unknown_kinds_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "skin.tif").write_bytes(b"II*\0")
        (tmp_path / "a.ply").write_text(ply(extra="comment TextureFile skin.tif\n"))
        with pytest.raises(ValueError, match=r"skin\.tif: expected a texture in PNG, JPEG or BMP format"):
            load_mesh(tmp_path / "a.ply")

    def test_materials_may_name_other_files_but_not_in_lines_without_end(self, tmp_path: Path) -> None:
        (tmp_path / "skin.tga").write_bytes(b"no picture that is known here")
        (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n")
        (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd skin.tga\n")
        assert len(load_mesh(tmp_path / "a.obj").faces) == 1
        (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd" + " skin" * 100_000 + "\n")
        with pytest.raises(ValueError, match=r"a\.mtl: a line of 500,007 bytes: expected at most 5,000"):
            load_mesh(tmp_path / "a.obj")

    def test_textures_outside_the_bundle_are_refused(self, bundle: Bundle, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((4, 4, 3), np.uint8))
        for name in ("../../secret.png", str(tmp_path / "secret.png")):
            (bundle.path / "meshes/box.ply").write_text(ply(extra=f"comment TextureFile {name}\n"))
            with pytest.raises(ValueError, match=r"box\.ply: names .*secret\.png: expected a file below .*meshes"):
                bundle.load_meshes()

    def test_materials_outside_the_bundle_are_refused(self, bundle: Bundle, tmp_path: Path) -> None:
        (tmp_path / "secret.mtl").write_text("newmtl paint\n")
        cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((4, 4, 3), np.uint8))
        entry = replace(bundle.catalog[0], mesh=Path("box.obj"))
        other = replace(bundle, catalog=Catalog((entry, *bundle.catalog.objects[1:])))
        for library, paint, named in (
            ("../../secret.mtl own.mtl", "Kd 1 0 0", r"secret\.mtl"),
            ("own.mtl", "norm ../../secret.png", r"secret\.png"),
        ):
            (bundle.path / "meshes/own.mtl").write_text(f"newmtl paint\n{paint}\n")
            (bundle.path / "meshes/box.obj").write_text(f"mtllib {library}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
            with pytest.raises(ValueError, match=rf"box\.obj: names .*{named}: expected a file below .*meshes"):
                other.load_meshes()


def test_nothing_unpickles() -> None:
    """Weights are safetensors; what training reads again of its own are tensors and plain values."""
    unsafe = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        for line in re.findall(r"^\s*(?:import|from)\s+(\w+)", text, re.MULTILINE):
            assert line not in unsafe, file
        if not re.search(r"torch\.(load|package|hub)|allow_pickle|yaml\.(load|unsafe|full)|\b(eval|exec)\(", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called, given = ast.unparse(node.func), {item.arg: ast.unparse(item.value) for item in node.keywords}
                assert called not in ("yaml.unsafe_load", "yaml.full_load", "eval", "exec"), f"{file}:{node.lineno}"
                assert not called.startswith(("torch.package", "torch.hub")), f"{file}:{node.lineno}"
                assert called != "torch.load" or given.get("weights_only") == "True", f"{file}:{node.lineno}"
                assert called != "yaml.load" or given.get("Loader") == "_Loader", f"{file}:{node.lineno}"
                assert "allow_pickle" not in given, f"{file}:{node.lineno}"


def test_a_shipped_bundle_is_loaded_without_unpickling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    demo = load_bundle("demo")
    assert len(demo.load_meshes()) == len(demo.catalog) and demo.weights("heatmaps")
