"""Result files say what was measured, by what and where."""

from __future__ import annotations

import json
import math

import numpy as np
import torch

from pose_estimation_ros.evaluation.results import Rows, origin_of, plain, write_result


def test_a_result_file_names_command_commit_machine_date_and_seed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("POSE_PRECISION", raising=False)
    origin = origin_of("python benchmarks/some.py", ["--bundle", "a b", "--steps", "3"])
    path = tmp_path / "new" / "some.json"
    write_result(path, origin, {"ar": np.float32(0.123456789), "rows": ({"n": np.int64(3), "lost": math.inf},)}, seed=7)
    content = json.loads(path.read_text())
    assert content["command"] == "OMP_NUM_THREADS=1 python benchmarks/some.py --bundle 'a b' --steps 3"
    assert content["figures"] == {"ar": 0.12346, "rows": [{"n": 3, "lost": None}]}
    assert content["seed"] == 7
    assert content["machine"]["torch"] == torch.__version__
    assert content["machine"]["isa"].startswith(torch.backends.cpu.get_cpu_capability().lower())
    assert [path.name] == [item.name for item in path.parent.iterdir()]


def test_numbers_keep_all_their_digits_where_nothing_else_is_said() -> None:
    assert plain({1: [1.0 / 3.0, np.nan, "text", None, True]}) == {"1": [1.0 / 3.0, None, "text", None, True]}


def test_rows_are_printed_as_they_come(capsys) -> None:
    rows = Rows()
    rows.add(solver="first", ms=1.0 / 3.0)
    assert capsys.readouterr().out == "| solver | ms |\n|---|---|\n| first | 0.3333 |\n"
    rows.add(solver="second", ms=20)
    assert capsys.readouterr().out == "| second | 20 |\n"
    assert rows == [{"solver": "first", "ms": 1.0 / 3.0}, {"solver": "second", "ms": 20}]


def test_a_run_that_went_on_is_recorded_as_the_command_that_makes_its_figures():
    words = ["--bundle", "demo", "--csv", "out/a.csv", "--resume", "--part", "0:4", "--csv=b.csv", "--images", "3"]
    assert origin_of("pose_evaluate", words).command.endswith("pose_evaluate --bundle demo --part 0:4 --images 3")
