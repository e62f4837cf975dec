"""pose_evaluate_hands on made-up files, and on the released ones where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.cli.evaluate_hands import main
from pose_estimation_ros.data.nyu_hand import points_from_uvd, uvd_from_points

NYU = Path(os.environ.get("NYU_HAND_DIR", Path(__file__).resolve().parents[3] / "shared/data/nyu_hand"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rng = np.random.default_rng(3)
    uvd = np.concatenate([rng.uniform(100, 400, (5, 14, 2)), rng.uniform(600, 900, (5, 14, 1))], axis=2)
    along = points_from_uvd(uvd) + np.array([0.0, 0.0, 0.005])
    found = {}
    for name, values in (("true", uvd), ("deep_uvd", uvd_from_points(along)), ("short", uvd[1:])):
        np.savetxt(tmp_path / f"{name}.txt", values.reshape(len(values), -1), fmt="%.6f")
        found[name] = str(tmp_path / f"{name}.txt")
    return found


def test_a_known_error_is_measured_and_written(files, tmp_path, capsys) -> None:
    result = tmp_path / "result.json"
    arguments = ["--groundtruth", files["true"], "--predictions", files["deep_uvd"], "--subject-frames", "2", "3"]
    assert main([*arguments, "--plots", str(tmp_path / "plots"), "--result", str(result)]) == 0
    content = json.loads(result.read_text())
    (row,) = content["figures"]["rows"]
    assert row["predictions"] == "deep" and content["figures"]["frames"] == 5
    assert row["mean_mm"] == row["subject_1_mm"] == row["subject_2_mm"] == row["mean_max_mm"] == 5.0
    assert row["within_10_mm"] == 1.0
    assert [joint["deep"] for joint in content["figures"]["joints"]] == [5.0] * 14
    assert "pose_evaluate_hands --groundtruth" in content["command"]
    assert (tmp_path / "plots" / "success.png").stat().st_size > 1000
    assert "5.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        (["short"], ["--subject-frames", "2", "3"], "short.txt: 4 frames of estimated joints, expected 5"),
        (["deep_uvd"], [], "subjects of [2440, 5812] frames: expected positive numbers whose sum is 5"),
        (
            ["deep_uvd", "deep_uvd"],
            ["--subject-frames", "5"],
            "predictions called deep, deep: expected different",
        ),
    ],
)
def test_mistakes_are_one_line(files, tmp_path, capsys, predictions, options, message) -> None:
    arguments = ["--groundtruth", files["true"], "--predictions", *(files[name] for name in predictions), *options]
    assert main([*arguments, "--plots", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pose_evaluate_hands: error: ") and message in line


@pytest.mark.skipif(not NYU.is_dir(), reason=f"no released predictions in {NYU}")
def test_the_released_predictions_have_the_published_errors(tmp_path) -> None:
    result = tmp_path / "result.json"
    predictions = [str(NYU / f"{name}_uvd.txt") for name in ("deepprior_pp", "feature_mapping")]
    arguments = ["--groundtruth", str(NYU / "groundtruth_uvd.txt"), "--predictions", *predictions]
    assert main([*arguments, "--plots", str(tmp_path), "--result", str(result)]) == 0
    found = {row["predictions"]: row for row in json.loads(result.read_text())["figures"]["rows"]}
    for name, wanted in (("deepprior_pp", (12.24, 6.93, 14.47)), ("feature_mapping", (7.44, 5.30, 8.34))):
        figures = [found[name][key] for key in ("mean_mm", "subject_1_mm", "subject_2_mm")]
        assert figures == pytest.approx(wanted, abs=0.005)
