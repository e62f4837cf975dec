"""benchmarks/adaptation.py: what lies in the working folder is of the same weights and options, or it is refused."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def adaptation(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("adaptation")


def arguments(out: Path, **changes: Any) -> argparse.Namespace:
    given = {"bundle": ROOT / "models" / "demo", "bop": Path("photos"), "samples": 2000, "assignments": [], "out": out}
    return argparse.Namespace(**{**given, **changes})


def test_the_same_options_go_on(adaptation: Any, tmp_path: Path) -> None:
    for _ in range(2):
        adaptation._refuse_other_runs(arguments(tmp_path / "work"), "pix2pose")
        (tmp_path / "work" / "pix2pose_5_both_0.json").write_text("{}")


@pytest.mark.parametrize(
    "changes",
    [{"samples": 4000}, {"bop": Path("others")}, {"assignments": ["mapping=false"]}],
    ids=lambda item: next(iter(item)),
)
def test_other_options_are_refused(adaptation: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    adaptation._refuse_other_runs(arguments(tmp_path), "pix2pose")
    adaptation._refuse_other_runs(arguments(tmp_path, **changes), "nemo")  # has nothing there yet
    with pytest.raises(SystemExit, match="trainings of other weights or options"):
        adaptation._refuse_other_runs(arguments(tmp_path, **changes), "pix2pose")


def test_results_of_which_nothing_is_known_are_refused(adaptation: Any, tmp_path: Path) -> None:
    (tmp_path / "pix2pose_5_both_0.json").write_text("{}")
    with pytest.raises(SystemExit, match="pix2pose_begun_with.json"):
        adaptation._refuse_other_runs(arguments(tmp_path), "pix2pose")


def test_an_interrupted_training_is_no_result(adaptation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = SimpleNamespace(training={"adaptation": {"finished": False}})
    bundle = SimpleNamespace(network=lambda _: interrupted)
    monkeypatch.setattr(adaptation.adapt, "main", lambda _: 0)
    monkeypatch.setattr(adaptation, "load_bundle", lambda _: bundle)
    with pytest.raises(SystemExit, match="pix2pose_5_both_0: interrupted"):
        adaptation._run(arguments(tmp_path), "pix2pose", 5, "both", 0)
    assert not list(tmp_path.glob("*.json"))
