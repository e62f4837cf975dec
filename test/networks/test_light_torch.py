"""What a node's torch lacks comes when something relies on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = "torch._meta_registrations", "torch._decomp", "torch._prims", "torch._refs"
NODE = f"""
import sys
from importlib import import_module
from types import SimpleNamespace
from pose_estimation_ros.ros import start

def imported(name):
    return SimpleNamespace(main=lambda: 0) if import_module(name) else None

start.import_module = imported
assert start.{{start}}() == 0
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
Pipeline(load_bundle("models/demo"))
assert "torch" in sys.modules
assert not [name for name in {(*LEFT_OUT, "scipy.optimize")} if name in sys.modules], "imported for nothing"
"""
SHAPES = """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    assert torch.nn.Conv2d(3, 4, 3)(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)
assert torch.zeros(1, 3, 8, 8, device="meta").sum((1, 2)).shape == (1, 8)
assert torch.compile(lambda value: 2 * value, backend="eager")(torch.ones(2)).tolist() == [2.0, 2.0]
"""
ASKED = """
import sys
from importlib import import_module
import pose_estimation_ros.networks.light_torch
module = import_module("{name}")
assert module is sys.modules["{name}"] and type(module.__spec__.loader).__name__ == "SourceFileLoader"
assert import_module("torch._meta_registrations").__file__
"""


def run(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("start", ["main", "hands"])
def test_a_node_loads_without_kernels_for_no_data_and_compilers_find_them(start):
    pytest.importorskip("rclpy")
    run(NODE.format(start=start) + SHAPES)


@pytest.mark.parametrize("name", ["torch._refs", "torch._meta_registrations"])
def test_whoever_asks_for_a_part_gets_all_of_it(name):
    run(ASKED.format(name=name))
