"""pose_evaluate_hands with the shipped bundle, on renderings that lie in a folder as the data set's images do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_estimation_ros.cli import evaluate_hands
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, draw_frames
from pose_estimation_ros.data.nyu_hand import CAMERA, read_joints, uvd_from_points, write_joints
from pose_estimation_ros.evaluation import hand_run
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.hands.estimator import load
from pose_estimation_ros.methods.hands.settings import HandSettings
from pose_estimation_ros.objects.bundle import load_bundle

from ..nyu_layout import write_depth_images

BUNDLE = str(Path(__file__).resolve().parents[2] / "models/hands")
SUBJECTS = (3, 2)
EMPTY = 1  # the frame without a hand


@dataclass(frozen=True)
class DataSet:
    folder: Path  # test/ with the images, truth.txt
    depth: list[np.ndarray]  # as the images have it, metres

    @property
    def arguments(self) -> list[str]:
        return [*self.without_bundle, "--bundle", BUNDLE, "--images", str(self.folder / "test")]

    @property
    def without_bundle(self) -> list[str]:
        frames = [str(number) for number in SUBJECTS]
        return ["--groundtruth", str(self.folder / "truth.txt"), "--subject-frames", *frames]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("nyu")
    config = HandSceneConfig(noisy_share=0.0, distance_m=(0.6, 0.8), around_share=0.0)
    scenes = draw_frames(sum(SUBJECTS), config, CAMERA, torch.Generator().manual_seed(7))
    write_joints(folder / "truth.txt", uvd_from_points(scenes.joints.double().numpy()))
    depth_mm = torch.where(scenes.depth.isinf(), 0.0, 1000.0 * scenes.depth).round().numpy().astype(np.uint16)
    depth_mm[EMPTY] = 0
    write_depth_images(folder / "test", depth_mm)
    return DataSet(folder, [image.astype(np.float32) / 1000.0 for image in depth_mm])


def run(arguments: list[str], output: Path) -> dict:
    """Run the command and return the figures it writes."""
    result = output / "result.json"
    assert evaluate_hands.main([*arguments, "--plots", str(output), "--result", str(result)]) == 0
    return json.loads(result.read_text())["figures"]


def test_figures_are_those_of_the_finder_and_of_the_file_it_writes(data: DataSet, tmp_path: Path, capsys) -> None:
    written = tmp_path / "new/again_uvd.txt"
    (row,) = run([*data.arguments, "--write", str(written)], tmp_path)["rows"]
    output = capsys.readouterr().out
    assert "note: hands: no hand found in 1 of 5 frames (no depth measured between 0.2 and 1.2 m: 1)" in output
    assert row["predictions"] == "hands" and row["misses"] == 1

    finders = [
        load(
            LoadContext(
                load_bundle(BUNDLE),
                torch.device("cpu"),
                HandSettings(max_hands=1, min_score=0.0, min_inside=0.0, cube_side_m=side),
            )
        )
        for side in (0.300, 0.250)
    ]
    found = []
    for frame, depth in enumerate(data.depth):
        finder = finders[0 if frame < SUBJECTS[0] else 1]
        found.append(found[-1] if frame == EMPTY else finder.find(depth, CAMERA).hands[0].joints)
    error = 1000.0 * np.linalg.norm(np.array(found) - read_joints(data.folder / "truth.txt"), axis=2)
    assert row["mean_mm"] == pytest.approx(error.mean(), abs=0.01)
    assert row["subject_1_mm"] == pytest.approx(error[:3].mean(), abs=0.01)
    assert row["subject_2_mm"] == pytest.approx(error[3:].mean(), abs=0.01)
    assert row["mean_max_mm"] == pytest.approx(error.max(axis=1).mean(), abs=0.01)
    assert not list(written.parent.glob("*.partial*"))

    (again,) = run([*data.without_bundle, "--predictions", str(written)], tmp_path)["rows"]
    assert again.pop("predictions") == "again"
    assert again == {name: value for name, value in row.items() if name not in ("predictions", "misses")}


def test_settings_can_be_set_and_stand_beside_predictions(data: DataSet, tmp_path: Path) -> None:
    predictions = ["--predictions", str(data.folder / "truth.txt")]
    same_cube = ["--set", "hands.cube_side_m=0.3", "--set", "hands.passes=1", "--subject-frames", "1", "1", "3"]
    figures = run([*data.arguments, *predictions, *same_cube], tmp_path)
    truth, own = figures["rows"]
    assert truth["predictions"] == "truth" and truth["mean_mm"] == 0.0 and "misses" not in truth
    assert own["predictions"] == "hands" and own["mean_mm"] > 1.0
    assert set(figures["joints"][0]) == {"joint", "truth", "hands"}


def test_an_interrupted_run_goes_on(data: DataSet, tmp_path: Path, monkeypatch, capsys) -> None:
    written, whole = tmp_path / "own_uvd.txt", tmp_path / "whole_uvd.txt"
    quick = [*data.arguments, "--set", "hands.passes=1", "--plots", str(tmp_path)]
    assert evaluate_hands.main([*quick, "--write", str(whole)]) == 0
    read, reads = hand_run.read_depth, []

    def interrupted(path: Path) -> np.ndarray:
        if path.stem.endswith("3"):
            raise KeyboardInterrupt
        return read(path)

    def counted(path: Path) -> np.ndarray:
        reads.append(path.stem)
        return read(path)

    monkeypatch.setattr(hand_run, "read_depth", interrupted)
    assert evaluate_hands.main([*quick, "--write", str(written)]) == 130
    assert f"interrupted; {written}.partial.jsonl holds the finished images" in capsys.readouterr().err
    monkeypatch.setattr(hand_run, "read_depth", counted)
    assert evaluate_hands.main([*quick, "--write", str(written), "--resume"]) == 0
    assert reads == ["depth_1_0000003", "depth_1_0000004", "depth_1_0000005"]
    assert written.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "neither --predictions nor --bundle: expected at least one of them"),
        (["--images", "x"], "--images: needs --bundle"),
        (["--view", "2"], "--view: needs --bundle"),
        (["--write", "x", "--predictions", "y"], "--write: needs --bundle"),
        (["--resume"], "--resume: needs --bundle"),
        (["--device", "cpu"], "--device: needs --bundle"),
        (["--set", "hands.passes=1"], "--set: needs --bundle"),
        (["--bundle", "B"], "--bundle: needs --images, the folder with the depth images"),
        (["--bundle", "B", "--images", "I", "--resume"], "--resume: needs --write, beside whose file"),
        (["--bundle", "B", "--images", "I", "--write", "T"], "truth.txt: is read as well; expected another file"),
        (["--bundle", "B", "--images", "I", "--write", "I"], "test: is a folder; expected a file"),
        (["--bundle", "nobody", "--images", "I"], "bundle 'nobody': no bundle.yaml in "),
        (["--bundle", "B", "--images", "I", "--view", "2"], "5 of the 5 images that the ground truth has lines for"),
        (["--bundle", "B", "--images", "nowhere"], "nowhere: no such folder"),
        (["--bundle", "B", "--images", "I", "--set", "passes=1"], "--set: unknown setting 'passes'; did you mean"),
        (["--bundle", "B", "--images", "I", "--set", "hands.passes=9"], "--set: hands.passes = 9: expected a whole"),
        (["--bundle", "B", "--images", "I", "--device", "tpu"], "device = 'tpu': expected auto, cpu"),
        (["--bundle", "B", "--images", "I", "--predictions", "hands.txt"], "predictions called hands, hands: expected"),
        (
            ["--bundle", "B", "--images", "I", "--subject-frames", "1", "1", "3"],
            "--subject-frames: 3 subjects, cubes are known of 2; give one side for all of them with --set hands.cube",
        ),
        (
            ["--bundle", "B", "--images", "I", "--set", "hands.near_m=1.1"],
            "no hand found in any of 5 images (no depth measured between 1.1 and 1.2 m: 5)",
        ),
    ],
)
def test_mistakes_are_one_line(data: DataSet, tmp_path: Path, capsys, options: list[str], message: str) -> None:
    places = {"B": BUNDLE, "I": str(data.folder / "test"), "T": str(data.folder / "truth.txt")}
    arguments = [*data.without_bundle, *(places.get(word, word) for word in options), "--plots", str(tmp_path)]
    before = (data.folder / "truth.txt").read_text()
    assert evaluate_hands.main(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "image/s" not in line and line]
    assert line.startswith("pose_evaluate_hands: error: ") and message in line
    assert (data.folder / "truth.txt").read_text() == before


def test_images_and_ground_truth_belong_together(data: DataSet, tmp_path: Path, capsys) -> None:
    short = tmp_path / "short.txt"
    short.write_text("".join((data.folder / "truth.txt").read_text().splitlines(keepends=True)[:4]))
    arguments = ["--groundtruth", str(short), "--subject-frames", "4", "--bundle", BUNDLE]
    assert evaluate_hands.main([*arguments, "--images", str(data.folder / "test")]) == 2
    assert "5 images depth_1_*.png, the ground truth has 4 lines" in capsys.readouterr().err
