"""Every method whose network has an encoder can have another one; statistics that are frozen stay as they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.networks.encoder import make_encoder
from pose_estimation_ros.training.trial import TINY

from .case import Case, fingerprint, make_case

OPTIMISER = {**TINY["optimiser"], "batch": 2}
SAMPLES = 16
RECIPES: dict[str, dict[str, Any]] = {  # by network
    "attention": {"network": {"hidden": 8, "frozen": False}},
    "corners": {"network": {"features": 16, "channels": 8}, "size": 64},
    "descriptors": {"network": {"channels": 8, "hidden": 8}},
    "detector": {"network": {"channels": 8, "box_hidden": 16}},
    "heatmaps": {"network": {"trunk": "encoder", "widths": [16], "hidden": 16}},
    "nemo": {"network": {}},
    "pix2pose": {"network": {"decoder": [16, 16, 16], "bins": 4}, "stages": [{"size": 64, "samples": SAMPLES}]},
    "proposals": {"network": {"channels": 8, "box_hidden": 16}},
}


def changes_of(role: str) -> dict[str, Any]:
    """Return what a recipe says for a training of seconds that begins with lite0."""
    changes = {"optimiser": OPTIMISER, "frozen_statistics": True, "samples": SAMPLES, **RECIPES[role]}
    changes["network"] = {**changes["network"], "encoder": "lite0"}
    if "stages" in changes:
        del changes["samples"]
    return changes


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("attention", marks=pytest.mark.slow),
        "corners",
        "heatmaps",
        "mask_rcnn",
        "nemo",
        "pix2pose",
        pytest.param("proposals", marks=pytest.mark.slow),
    ],
)
def test_it_is_trained_stored_and_run_with_lite0(name: str, tiny_bop: Path, tmp_path: Path) -> None:
    method = methods()[name]
    case = make_case(method, tiny_bop, tmp_path, {role: changes_of(role) for role in method.roles})
    first, second = ([fingerprint(case.run(case.load(), view)) for view in case.views] for _ in range(2))
    assert first == second

    for role in method.roles:
        assert_statistics_stayed(case, role)


def assert_statistics_stayed(case: Case, role: str) -> None:
    assert case.bundle.networks[role].architecture["encoder"] == "lite0"
    weights = case.bundle.weights(role)
    prefix = next(key for key in weights if "encoder.stem" in key).partition("stem")[0]
    stages = len({key.removeprefix(f"{prefix}stages.")[0] for key in weights if key.startswith(f"{prefix}stages.")})
    untrained = make_encoder("lite0", stages=stages).state_dict()
    assert set(untrained) == {key.removeprefix(prefix) for key in weights if key.startswith(prefix)}
    for key, value in untrained.items():
        after = weights[prefix + key]
        if "running" in key:
            assert torch.equal(after, value), key
        elif key.endswith("norm.bias"):  # begins at zero
            assert after.abs().max() > 0.0, key
