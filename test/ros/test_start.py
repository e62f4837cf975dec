"""How programs begin, before their modules are there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pose_estimation_ros.ros import start


def test_garbage_is_not_looked_for_while_modules_are_imported_and_is_afterwards():
    code = (
        "import gc, types; from pose_estimation_ros.ros import start;"
        "said = [];"
        "main = lambda: print(said[0], gc.isenabled(), gc.get_freeze_count() > 0) or 0;"
        "start.import_module = lambda name: said.append(gc.isenabled()) or types.SimpleNamespace(main=main);"
        "start.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "True"]


@pytest.mark.parametrize(("chosen", "threads"), [(None, "1"), ("3", "3")])
def test_hands_are_found_by_one_thread_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, threads: str
):
    monkeypatch.setenv("OMP_NUM_THREADS", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(start, "_run", lambda module, *_: (module, os.environ["OMP_NUM_THREADS"]))
    assert start.hands() == ("hands_node", threads)
