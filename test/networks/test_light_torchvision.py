"""What the node imports before its first pose."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pose_estimation_ros"
CODE = """
import sys
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
Pipeline(load_bundle("models/demo"))
assert not [name for name in sys.modules if name.startswith("torch._dynamo")], "torch's compiler was imported"
assert "open3d" in sys.modules and "dash" not in sys.modules, "Open3D's web server was imported"
from torchvision.ops import roi_align
assert roi_align.__globals__["is_compile_supported"]("cpu") in (True, False)
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported.__module__ == "torch._dynamo.utils"
import open3d
assert type(open3d.visualization.get_plotly_fig([])).__module__.startswith("plotly."), "Open3D plots no more"
"""


def test_the_pipeline_is_loaded_without_compiler_and_web_server_which_are_there_when_they_are_asked_for():
    ended = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def imported(file: Path) -> list[str]:
    """Return the modules that a file imports when it is imported, in order."""
    names = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("folder", ["methods", "networks"])
def test_torchvision_is_imported_after_the_light_one(folder):
    for file in (PACKAGE / folder).rglob("*.py"):
        names = imported(file)
        first = next((index for index, name in enumerate(names) if name.split(".")[0] == "torchvision"), None)
        if first is not None:
            assert "pose_estimation_ros.networks.light_torchvision" in names[:first], file


def test_open3d_is_imported_through_the_light_one():
    own = PACKAGE / "objects" / "light_open3d.py"
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if file != own and isinstance(node, ast.Import):
                assert "open3d" not in [alias.name for alias in node.names], file
