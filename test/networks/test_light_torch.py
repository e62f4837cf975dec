"""What a node's torch lacks comes when something relies on it."""

from __future__ import annotations

import os
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


# Of a torch that is none: `said` holds what was imported, in order; the kernels import what relies on them.
INIT = """said = []
import os
if "torch_backend" in os.environ: from torch import _refs
if True:
    from torch import _meta_registrations
"""
KERNELS = """import torch, time
torch.said.append("kernels begin")
time.sleep(0.2)
from torch import _refs
torch.said.append("kernels end")
"""
REFS = """import torch
torch.said.append("refs")
"""


def run(code: str, *path: Path, **environment: str) -> str:
    folders = os.pathsep.join([*map(str, path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def other_torch(tmp_path: Path) -> Path:
    """Return the folder of a torch that says what it imports."""
    (tmp_path / "torch").mkdir()
    for name, text in {"__init__": INIT, "_meta_registrations": KERNELS, "_refs": REFS}.items():
        (tmp_path / "torch" / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize("start", ["main", "hands"])
def test_a_node_loads_without_kernels_for_no_data_and_compilers_find_them(start):
    pytest.importorskip("rclpy")
    run(NODE.format(start=start) + SHAPES)


@pytest.mark.parametrize("name", ["torch._refs", "torch._meta_registrations"])
def test_whoever_asks_for_a_part_gets_all_of_it(name):
    run(ASKED.format(name=name))


LIGHT = "import pose_estimation_ros.networks.light_torch, torch;"


def test_threads_that_ask_at_once_wait_for_all_of_it(other_torch: Path):
    code = LIGHT + (
        "import importlib, threading;"
        "ask = lambda: (importlib.import_module('torch._refs'), torch.said.append('asked'));"
        "threads = [threading.Thread(target=ask) for _ in range(4)];"
        "[item.start() for item in threads]; [item.join() for item in threads]; print(torch.said)"
    )
    assert run(code, other_torch).strip() == str(["kernels begin", "refs", "kernels end", *["asked"] * 4])


def test_a_torch_that_needs_them_itself_gets_them_at_once(other_torch: Path):
    found = run(LIGHT + "print(torch.said)", other_torch, torch_backend="another")
    assert found.strip() == str(["refs", "kernels begin", "kernels end"])


def test_a_torch_that_imports_them_otherwise_is_imported_whole(other_torch: Path):
    init = other_torch / "torch" / "__init__.py"
    init.write_text(init.read_text() + "    from torch import _meta_registrations as again\n")
    found = run(LIGHT + "print(torch.said)", other_torch)
    assert found.strip() == str(["kernels begin", "refs", "kernels end"])


def test_a_torch_that_was_imported_before_stays_as_it_is(other_torch: Path):
    found = run("import torch;" + LIGHT + "print(torch.said)", other_torch)
    assert found.strip() == str(["kernels begin", "refs", "kernels end"])
