"""pose_evaluate from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.cli.evaluate import main
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.bop_results import Estimate, read_results, write_results
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, save_weights
from pose_estimation_ros.objects.catalog import Catalog

from ..many_processes import in_processes


@pytest.fixture
def truth_csv(tiny_bop: Path, tmp_path: Path) -> Path:
    """Write the ground truth as results; object 1 of image 0 is 10 cm off, image 2 is missing."""
    estimates = []
    for image in BopDataset(tiny_bop).images[:2]:
        for truth in image.ground_truth:
            pose = truth.camera_from_object.copy()
            if (image.image_id, truth.object_id) == (0, 1):
                pose[2, 3] += 0.1
            estimates.append(Estimate(*image.key, truth.object_id, 0.7, pose, 0.5))
    path = tmp_path / "truth_tiny-test.csv"
    write_results(path, estimates)
    return path


@pytest.fixture
def bundle(tiny_bop: Path, tmp_path: Path) -> Path:
    """Make a bundle for the tiny data set with an untrained Pix2Pose and no detector."""
    catalog = BopDataset(tiny_bop).catalog
    named = Catalog(tuple(replace(model, name=name) for model, name in zip(catalog, ("wedge", "cube"), strict=True)))
    empty = Bundle(tmp_path / "bundle", "tiny", named, {}, PosePrior(), meshes=None)
    save_weights(empty, "pix2pose", Pix2PoseNet(2).state_dict(), {}, 64, {})
    return tmp_path / "bundle"


def test_scores_of_a_result_file(tiny_bop: Path, truth_csv: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--bop", str(tiny_bop), "--from-csv", str(truth_csv), "--report", str(out / "report.json")]
    assert main([*arguments, "--plots", str(out / "plots"), "--poses-dir", str(out / "poses")]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["objects"]["obj_000001"]["add_s_0_1d"] == 0.5
    assert report["objects"]["obj_000002"]["add_s_0_1d"] == 0.75  # image 2 asks for one of the four cubes
    assert report["mean"]["add_s_0_1d"] == pytest.approx(0.625)
    assert report["all"]["add_s_0_1d"] == pytest.approx(4 / 6)
    assert report["all"]["ar_vsd"] is not None
    assert report["seconds_per_image"] == 0.5
    assert report["machine"]["cores"] >= 1
    assert "pose_evaluate --bop " in report["command"]
    assert [row["score"] for row in report["targets"]] == [0.7] * 5 + [None]
    printed = capsys.readouterr().out
    assert "62.5" in printed
    assert (out / "poses/obj_000001/000000.txt").is_file()
    assert not (out / "poses/obj_000001/000002.txt").exists()
    assert sorted(path.name for path in (out / "plots").iterdir()) == [
        "curves.png",
        "overlay",
        "reliability.png",
        "worst.png",
    ]
    before = cv2.imread(str(tiny_bop / "test/000007/rgb/000000.png"))
    overlay = cv2.imread(str(out / "plots/overlay/000007_000000.jpg"))
    assert np.abs(overlay.astype(int) - before).max() > 100  # something was drawn


def test_a_choice_of_images_restricts_the_targets(tiny_bop: Path, truth_csv: Path, tmp_path: Path, capsys) -> None:
    report = tmp_path / "report.json"
    arguments = ["--bop", str(tiny_bop), "--from-csv", str(truth_csv), "--report", str(report), "--no-vsd"]
    assert main([*arguments, "--image-range", "1:2"]) == 0
    content = json.loads(report.read_text())
    assert (content["images"], content["all"]["instances"], content["all"]["add_s_0_1d"]) == (1, 3, 1.0)
    assert content["all"]["ar_vsd"] is None
    assert "3 of 5 targets are of other images" in capsys.readouterr().out


def test_a_part_of_the_images_is_scored_by_itself_too(tiny_bop: Path, truth_csv: Path, tmp_path: Path, capsys) -> None:
    results = {}
    arguments = ["--bop", str(tiny_bop), "--from-csv", str(truth_csv), "--no-vsd"]
    for name, options in {"part": ["--part", "1:2"], "alone": ["--image-range", "1:2"]}.items():
        assert main([*arguments, *options, "--result", str(tmp_path / f"{name}.json")]) == 0
        results[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert "pose_evaluate --bop " in results["part"]["command"]
    assert results["part"]["figures"]["all"]["add_s_0_1d"] == pytest.approx(4 / 6, abs=1e-5)
    assert results["part"]["figures"]["part"] == results["alone"]["figures"]
    assert results["alone"]["figures"]["images"] == 1
    assert "images 1:2 alone:" in capsys.readouterr().out


def test_a_bundle_is_run_and_its_poses_written(tiny_bop: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    csv, report = tmp_path / "pix2pose_tiny-test.csv", tmp_path / "report.json"
    arguments = ["--bop", str(tiny_bop), "--bundle", str(bundle), "--detections", "gt", "--device", "cpu"]
    assert main([*arguments, "--csv", str(csv), "--report", str(report), "--no-vsd"]) == 0
    content = json.loads(report.read_text())
    assert set(content["objects"]) == {"wedge", "cube"}
    assert len(content["weights_sha256"]["pix2pose"]) == 64
    assert content["seconds_per_image"] > 0
    assert content["stages_s"]["pose"] > 0
    assert read_results(csv) is not None
    assert not list(tmp_path.glob("*.partial.jsonl"))
    assert "wedge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--bundle: missing"),
        (["--from-csv", "nowhere.csv"], "nowhere.csv"),
        (["--from-csv", "x.csv", "--resume"], "--resume: needs the --csv"),
        (["--from-csv", "x.csv", "--image-range", "7"], "--image-range 7: expected A:B"),
        (["--from-csv", "x.csv", "--image-range", "5:9"], "within 0:3"),
        (["--from-csv", "x.csv", "--part", "5:9"], "--part 5:9: expected A:B[:STEP] within 0:3"),
        (["--from-csv", "x.csv", "--images", "0"], "--images 0"),
        (["--from-csv", "x.csv", "--split", "val"], "val: no such split"),
        (["--bundle", "no_such_bundle"], "no_such_bundle"),
        (["--bundle", "demo", "--detections", "gtt"], "--detections gtt: did you mean 'gt'?"),
        (["--bundle", "demo", "--detections", "gt", "--box-error", "2"], "--box-error 2.0: expected a number from 0"),
        (["--bundle", "demo", "--box-error", "0.1"], "--box-error 0.1: needs --detections gt"),
    ],
)
def test_mistakes_are_one_line_on_stderr(tiny_bop: Path, arguments: list[str], message: str, capsys) -> None:
    assert main(["--bop", str(tiny_bop), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pose_evaluate: error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_bundle_without_detector_says_how_to_get_one(tiny_bop: Path, bundle: Path, capsys) -> None:
    assert main(["--bop", str(tiny_bop), "--bundle", str(bundle), "--device", "cpu"]) == 2
    assert "pose_train --bundle" in capsys.readouterr().err


def evaluate_in_one_of_many(arguments: list[str]) -> None:
    assert main(arguments) == 0


def test_processes_share_the_images_and_one_writes(tiny_bop: Path, bundle: Path, tmp_path: Path) -> None:
    """The poses and scores are those of one process."""
    found = {}
    for count in (1, 2):
        csv, report = tmp_path / f"{count}_tiny-test.csv", tmp_path / f"{count}.json"
        arguments = ["--bundle", str(bundle), "--bop", str(tiny_bop), "--detections", "gt", "--no-vsd"]
        arguments += ["--device", "cpu", "--csv", str(csv), "--report", str(report)]
        in_processes(count, evaluate_in_one_of_many, arguments)
        rows = [line.split(",")[:-1] for line in csv.read_text().splitlines()]  # all but the time
        found[count] = rows, json.loads(report.read_text())["targets"]
    assert len(found[1][1]) == 6 and found[1] == found[2]
    assert not list(tmp_path.glob("*.partial*"))
