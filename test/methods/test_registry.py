"""The registry of refiners: "none" changes nothing, names load lazily, unknown names are refused by name."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import pose_estimation_ros.refinement as refinement
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel

MODEL = ObjectModel(1, "mug", 0.1, ((-0.05,) * 3, (0.05,) * 3), Path("mug.ply"))
BUNDLE = Bundle(Path("nowhere"), "test", Catalog((MODEL,)), {}, PosePrior())
CPU = torch.device("cpu")


def test_none_returns_the_very_same_hypotheses():
    hypotheses = [PoseHypothesis(0, 0, np.eye(4), 0.5), PoseHypothesis(0, 1, np.eye(4), 0.4)]
    refined = refinement.make_refiner("none", BUNDLE, CPU).refine(None, [], hypotheses)
    assert len(refined) == 2
    assert all(a is b for a, b in zip(refined, hypotheses, strict=True))


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"refiner = 'icp': expected one of none"):
        refinement.make_refiner("icp", BUNDLE, CPU)


def test_a_second_refiner_is_one_class_and_one_line(monkeypatch):
    class Nudge:
        def __init__(self, mesh_dir: Path | None) -> None:
            self.mesh_dir = mesh_dir

        @classmethod
        def from_bundle(cls, bundle, device, mesh_dir):
            return cls(mesh_dir)

    module = types.ModuleType("nudge_refiner")
    module.Nudge = Nudge
    monkeypatch.setitem(sys.modules, "nudge_refiner", module)
    monkeypatch.setitem(refinement.REFINERS, "nudge", "nudge_refiner:Nudge")
    assert refinement.make_refiner("nudge", BUNDLE, CPU, Path("meshes")).mesh_dir == Path("meshes")
