"""A method of another package is trained, evaluated, timed, listed, served and tested without a line changed here."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.cli import benchmark, evaluate, settings
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.evaluation.bop_results import read_results
from pose_estimation_ros.methods.registry import GROUP, choices, trained_networks
from pose_estimation_ros.objects.bundle import load_bundle

from .conftest import write_metadata

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(__file__).parent / "toy_package"
BACKEND = ["--backend", "toy", "--device", "cpu"]


def entry_points() -> dict[str, str]:
    """Read what the toy package registers."""
    config = configparser.ConfigParser()
    config.read(SOURCE / "setup.cfg")
    lines = config["options.entry_points"][GROUP].split("\n")
    return dict(re.split(r"\s*=\s*", line.strip()) for line in lines if line.strip())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the toy package into a temporary folder."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE / "toy_methods", folder / "toy_methods")
    write_metadata(folder, "toy_methods", entry_points())
    return folder


@pytest.fixture
def installed(site: Path, find_packages_in: Callable[[Path], None]) -> None:
    """Let this process find the toy package until the test ends."""
    find_packages_in(site)


@pytest.fixture(scope="module")
def elsewhere(site: Path) -> dict[str, str]:
    """Return the environment of other processes that find it."""
    path = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(item for item in path if item)}


@pytest.fixture(scope="module")
def bundle(tiny_bop: Path, tmp_path_factory: pytest.TempPathFactory, elsewhere: dict[str, str]) -> Path:
    """Train the toy network by the command, in a process of its own."""
    folder = tmp_path_factory.mktemp("toy")
    recipe = {
        "samples=64", "size=32", "workers=0", "optimiser.batch=8", "optimiser.warmup_samples=8",
        "bank.views=16", "bank.clutter=1", "bank.clutter_views=2", "bank.size=32", "bank.backgrounds=2",
    }  # fmt: skip
    arguments = ["--bundle", "bundle", "--bop", str(tiny_bop), "--network", "toy", "--device", "cpu"]
    arguments += [item for change in sorted(recipe) for item in ("--set", change)]
    command = [sys.executable, "-m", "pose_estimation_ros.cli.train", *arguments]
    done = subprocess.run(command, cwd=folder, env=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "toy.safetensors: 64 images seen, finished" in done.stdout
    return folder / "bundle"


def test_no_file_of_the_package_knows_the_method():
    files = [path for folder in ("pose_estimation_ros", "config", "launch") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in files if path.suffix in (".py", ".yaml", ".cfg", ".xml")] + [ROOT / "setup.py"]
    assert [path for path in texts if re.search(r"\btoy(_colours|_methods)?\b", path.read_text())] == []


@pytest.mark.usefixtures("installed")
def test_it_is_offered_wherever_methods_are_chosen(capsys):
    assert "toy" in choices("backend") and "toy_colours" in choices("detector") and "toy" in trained_networks()
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    shown = capsys.readouterr().out
    assert re.search(r"pose estimator: [^(]*\btoy\b", " ".join(shown.split()))
    assert re.search(r"or a detector: [^(]*\btoy_colours\b", " ".join(shown.split()))


def test_nothing_of_it_is_left_after_the_test():
    assert "toy" not in choices("backend") and "toy_methods" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_the_bundle_says_how_it_was_trained(bundle: Path):
    entry = load_bundle(bundle).networks["toy"]
    assert (entry.input_size, entry.training["samples"], entry.training["recipe"]["size"]) == (32, 64, 32)


@pytest.mark.usefixtures("installed")
def test_it_is_evaluated_with_the_settings_that_are_given(bundle: Path, tiny_bop: Path, tmp_path: Path):
    def rotations(*options: str) -> np.ndarray:
        csv, report = tmp_path / "toy_tiny-test.csv", tmp_path / "report.json"
        arguments = ["--bop", str(tiny_bop), "--bundle", str(bundle), *BACKEND, "--detections", "toy_colours"]
        arguments += ["--csv", str(csv), "--report", str(report), "--no-vsd", "--plots", str(tmp_path / "plots")]
        assert evaluate.main([*arguments, *options]) == 0
        content = json.loads(report.read_text())
        assert content["settings"]["backend"] == "toy" and content["settings"]["detector.method"] == "toy_colours"
        found = read_results(csv)
        assert len(found) == 4  # two regions in each of two images; the only one of the third is no target
        return np.stack([item.camera_from_object[:3, :3] for item in found])

    np.testing.assert_allclose(rotations(), np.tile(np.eye(3), (4, 1, 1)), atol=1e-9)
    turned = Rotation.from_euler("z", 90.0, degrees=True).as_matrix()
    np.testing.assert_allclose(rotations("--set", "toy.rotation_deg=90.0"), np.tile(turned, (4, 1, 1)), atol=1e-6)
    assert len(list((tmp_path / "plots" / "toy").glob("*.jpg"))) == 3  # its own drawings


@pytest.mark.usefixtures("installed")
def test_it_is_timed(bundle: Path, tiny_bop: Path, tmp_path: Path):
    file = tmp_path / "benchmark.json"
    arguments = ["--bundle", str(bundle), *BACKEND, "--bop", str(tiny_bop), "--frames", "3", "--json", str(file)]
    assert benchmark.main([*arguments, "--set", "detector.method=toy_colours", "--set", "toy.crop_padding=2.0"]) == 0
    content = json.loads(file.read_text())
    assert content["backend"] == "toy" and content["poses_per_frame"] == content["boxes_per_frame"] > 1
    assert content["stages_ms"]["detection"]["p50"] > 0.0 and content["stages_ms"]["pose"]["p50"] > 0.0


@pytest.mark.usefixtures("installed")
def test_bad_settings_of_it_are_refused_by_name(bundle: Path, capsys):
    assert benchmark.main(["--bundle", str(bundle), *BACKEND, "--set", "toy.rotation=90"]) == 2
    assert "unknown setting 'toy.rotation'; did you mean 'toy.rotation_deg'" in capsys.readouterr().err
    assert benchmark.main(["--bundle", str(bundle), *BACKEND, "--set", "toy.rotation_deg=900.0"]) == 2
    assert "--set: toy.rotation_deg = 900.0: expected a number from -180 to 180" in capsys.readouterr().err


@pytest.mark.usefixtures("installed")
def test_its_settings_are_listed(capsys):
    assert settings.main(["toy", "--set", "toy.rotation_deg=90.0"]) == 0
    shown = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert ["toy.rotation_deg", "90.0", "--set"] in [row[:3] for row in shown]
    assert ["toy_colours.min_saturation", "60", "default"] in [row[:3] for row in shown]
    assert all(row[3].endswith(".") for row in shown)


@pytest.mark.usefixtures("installed")
def test_the_node_declares_its_parameters_and_serves_it(bundle: Path, tiny_bop: Path, make_toy_node):
    bench = make_toy_node(**{
        "bundle": str(bundle), "backend": "toy", "detector.method": "toy_colours", "toy.rotation_deg": 30.0,
        "device": "cpu", "detector.score_threshold": 0.05, "tracking.enabled": False,
    })  # fmt: skip
    bench.wait_until_connected()
    described = bench.node.describe_parameter("toy.rotation_deg")
    assert described.description == "Rotation of all objects about the optical axis, degrees." and described.read_only
    (limits,) = described.floating_point_range
    assert (limits.from_value, limits.to_value) == (-180.0, 180.0)
    assert bench.node.get_parameter("toy_colours.min_saturation").value == 60
    assert "toy" in bench.node.describe_parameter("backend").additional_constraints

    from sensor_msgs.msg import Image

    bench.listen("/pose_estimation/debug/toy", Image)
    bench.wait(lambda: bench.node.count_subscribers("/pose_estimation/debug/toy"), "the subscription")
    frame = BopDataset(tiny_bop).frame(BopDataset(tiny_bop).images[0])
    send(bench, frame)
    bench.wait(lambda: bench.received["tf"] and bench.received["toy"], "poses and the drawing")
    transforms = bench.received["tf"][0].transforms
    assert len(transforms) == 2
    turned = transforms[0].transform.rotation
    np.testing.assert_allclose(
        [turned.x, turned.y, turned.z, turned.w], Rotation.from_euler("z", 30.0, degrees=True).as_quat(), atol=1e-6
    )
    drawn = np.frombuffer(bench.received["toy"][0].data, np.uint8)
    assert drawn.size == frame.rgb.size and (drawn != frame.rgb.ravel()).any()


@pytest.fixture
def make_toy_node() -> Iterator[Callable[..., Any]]:
    """Return a function that starts a node with its own pipeline, and a client; skips where ROS is not installed."""
    rclpy = pytest.importorskip("rclpy")
    pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
    from pose_estimation_ros.ros.loading import load_pipeline
    from pose_estimation_ros.ros.pose_node import PoseNode

    from .ros.conftest import Bench

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=10 + os.getpid() % 90)
    benches: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        benches.append(Bench(context, partial(PoseNode, load_pipeline), **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
    context.try_shutdown()


def send(bench: Any, frame: Frame) -> None:
    """Publish an image and its camera."""
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.camera_info import info_from_camera
    from pose_estimation_ros.ros.images import rgb_to_image

    header = Header(frame_id="camera")
    bench.send(rgb_to_image(frame.rgb, header), info_from_camera(frame.camera, header))


def test_the_suite_of_all_methods_tests_it_too(elsewhere: dict[str, str]):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/methods/contract"]
    chosen = ["-k", "toy or imports_no_training"]  # what is asked of each method, and of all together
    done = subprocess.run([*command, *chosen], cwd=ROOT, env=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 50
