"""pose_label from the command line, on the demo's images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pose_estimation_ros.cli.label import main
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.bop_writer import BopWriter
from pose_estimation_ros.labelling import labeller
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult

DEMO = Path(__file__).resolve().parents[2] / "models" / "demo"


@pytest.fixture
def rough(tmp_path: Path) -> Path:
    """Write one image of the demo twice, one object moved by 1 cm, another one turned upside down."""
    dataset = BopDataset(DEMO / "sequence")
    image = dataset.images[0]
    poses = []
    for truth in (image.ground_truth[0], image.ground_truth[1]):
        pose = truth.camera_from_object.copy()
        pose[0, 3] += 0.01
        poses.append((truth.object_id, pose))
    poses[1][1][:3, :3] = poses[1][1][:3, :3] @ np.diag([1.0, -1.0, -1.0])
    with BopWriter(tmp_path / "rough", scene_id=3) as writer:
        for _ in range(2):
            writer.add(dataset.read_rgb(image), image.camera, poses)
    return tmp_path / "rough"


def test_rough_poses_become_labels_and_a_run_goes_on(rough: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    config = tmp_path / "label.yaml"
    config.write_text(yaml.safe_dump({"refinement": {"starts": 1}}))
    command = ["--bundle", str(DEMO), "--photos", str(rough), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--config", str(config), "--auto"]
    assert main([*command, "--image-range", "0:1"]) == 0
    report = json.loads((tmp_path / "out" / "labels.json").read_text())["photos"]
    moved, upside_down = report["000003/000000"]["labels"]
    assert moved["verdict"] == "accept" and upside_down["verdict"] == "doubt"
    truth = BopDataset(DEMO / "sequence").images[0].ground_truth[0]
    (image,) = BopDataset(tmp_path / "out").images
    (label,) = image.ground_truth
    assert label.object_id == truth.object_id and label.visibility == pytest.approx(truth.visibility, abs=0.15)
    assert np.linalg.norm(label.camera_from_object[:2, 3] - truth.camera_from_object[:2, 3]) < 0.003
    # The second run leaves the first photograph alone.
    seen = []
    label_photo = labeller.Labeller.label
    monkeypatch.setattr(
        labeller.Labeller, "label", lambda self, photo, frame: seen.append(photo.key) or label_photo(self, photo, frame)
    )
    assert main(command) == 0
    assert seen == ["000003/000001"]
    assert "2 photographs, 2 poses accepted, 2 in doubt" in capsys.readouterr().out
    assert [image.key for image in BopDataset(tmp_path / "out").images] == [(3, 0), (3, 1)]


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A folder with a photograph of nothing."""
    folder = tmp_path / "blank"
    folder.mkdir()
    cv2.imwrite(str(folder / "wall.png"), np.full((120, 160, 3), 200, dtype=np.uint8))
    return folder


def test_photographs_without_objects_are_told_in_every_run(blank: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(Pipeline, "process", lambda self, frame: PipelineResult([], [], {}))
    command = ["--bundle", str(DEMO), "--photos", str(blank), "--out", str(tmp_path / "out"), "--device", "cpu"]
    for _ in range(2):
        assert main([*command, "--intrinsics", "150", "150", "79.5", "59.5", "--auto"]) == 0
        told = capsys.readouterr().out
        assert "000001/000000 wall.png: no object found\n" in told
        assert "1 photographs, 0 poses accepted, 0 in doubt, 0 rejected, 1 photographs without an object" in told


def test_a_run_does_not_go_on_with_another_calibration(blank: Path, tmp_path: Path, capsys) -> None:
    camera, other = tmp_path / "camera.yaml", tmp_path / "other.yaml"
    content = {
        "image_width": 160,
        "image_height": 120,
        "camera_matrix": {"data": [150, 0, 79.5, 0, 150, 59.5, 0, 0, 1]},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"data": [-0.1, 0.02, 0, 0, 0]},
    }
    camera.write_text(yaml.safe_dump(content))
    other.write_text(yaml.safe_dump(content | {"distortion_coefficients": {"data": []}}))
    command = ["--bundle", str(DEMO), "--photos", str(blank), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--auto", "--board", str(tmp_path / "board.yaml")]
    (tmp_path / "board.yaml").write_text("objects:\n- {name: mug, position_m: [0.1, 0.1, 0]}\n")  # and not seen
    assert main([*command, "--camera", str(camera)]) == 0
    assert main([*command, "--camera", str(camera.rename(tmp_path / "moved.yaml"))]) == 0  # the numbers count
    for changed in (["--camera", str(other)], ["--intrinsics", "140", "150", "79.5", "59.5"]):
        capsys.readouterr()
        assert main([*command, *changed]) == 2
        error = capsys.readouterr().err
        assert "labels.json: made with calibration = {'intrinsics': [[150.0, 0.0, 79.5]" in error
        assert "expected the same, or a new --out" in error
    assert main([*command, "--intrinsics", "150", "150", "79.5", "59.5"]) == 2  # without distortion
    assert "'distortion': [-0.1, 0.02, 0.0, 0.0, 0.0]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--photos", "{nowhere}"], "no such folder"),
        (["--photos", "{rough}", "--intrinsics", "1", "1", "1", "1"], "cameras of its own; expected neither --camera"),
        (["--photos", "{rough}", "--out", "{rough}"], "not empty, and no labels.json"),
        (["--photos", "{rough}", "--image-range", "5:9"], "expected A:B[:STEP] within 0:2"),
        (["--photos", "{rough}", "--config", "{nowhere}"], "nowhere: no such file; expected one in YAML"),
        (["--photos", "{rough}", "--board", "{nowhere}"], "nowhere: no such file; expected one in YAML"),
        (["--photos", "{rough}", "--refiner", "magic"], "refiner = 'magic'"),
        (["--photos", "{rough}", "--refiner", "none"], "expected one that makes poses accurate"),
    ],
)
def test_wrong_input_is_named(rough: Path, tmp_path: Path, capsys, options: list[str], said: str) -> None:
    options = [item.format(rough=rough, nowhere=tmp_path / "nowhere") for item in options]
    assert main(["--bundle", str(DEMO), "--out", str(tmp_path / "out"), "--auto", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pose_label: error: ") and said in error
