"""The garbage collector rests while modules are imported, and works again afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from pose_estimation_ros.ros.garbage import collector_paused


def test_it_works_again_after_an_error_too():
    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"), collector_paused():
        assert not gc.isenabled()
        raise ValueError("broken")
    assert gc.isenabled()


def test_it_stays_off_where_somebody_had_switched_it_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_programs_are_imported_without_it_and_run_with_it():
    code = (
        "import gc, types; from pose_estimation_ros.ros import start;"
        "said = [];"
        "main = lambda: print(said[0], gc.isenabled(), gc.get_freeze_count() > 0) or 0;"
        "start.import_module = lambda name: said.append(gc.isenabled()) or types.SimpleNamespace(main=main);"
        "start.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "True"]
