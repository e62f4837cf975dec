"""What the node imports before its first pose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
import pose_estimation_ros.networks.mask_rcnn
assert not [name for name in sys.modules if name.startswith("torch._dynamo")], "torch's compiler was imported"
from torchvision.ops import roi_align
assert roi_align.__globals__["is_compile_supported"]("cpu") in (True, False)
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported.__module__ == "torch._dynamo.utils"
"""


def test_the_detector_is_imported_without_the_compiler_which_is_there_when_it_is_asked_for():
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
