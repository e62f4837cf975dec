"""Player, pose node and recorder as separate processes over DDS, as the demo starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
pytest.importorskip("mcap_ros2")

IMAGES = 6
# The node with a pipeline that needs no weights: one object, 0.5 m ahead, moved by the image's first pixel in mm.
NODE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.ros.loading import LoadedPipeline
from pose_estimation_ros.ros.node_process import main

class Pipeline:
    lowest_score = 0.0
    def process(self, frame):
        matrix = np.eye(4)
        matrix[:3, 3] = (frame.rgb[0, 0, 0] / 1000.0, 0.0, 0.5)
        box = np.array([1.0, 2.0, 3.0, 4.0])
        pose = SimpleNamespace(name="cube", object_index=0, track_id=1, camera_from_object=matrix, score=0.9,
                               covariance=None, box=box, mask=None)
        return SimpleNamespace(poses=[pose], detections=[Detection(0, 0.9, box)], timings_s={"total": 0.0}, reason=None,
                               tracks=[])
    def reset_tracks(self):
        pass

cube = ObjectModel(1, "cube", 0.1733, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("cube.ply"))
sys.exit(main(pipeline_factory=lambda parameters: LoadedPipeline(Pipeline(), Catalog((cube,)))))
"""


@pytest.fixture
def start(domain_id):
    """Return a function that starts a Python process on the test's DDS domain."""
    processes = []

    def start_process(*arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen, text: str) -> None:
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} not in the output:\n{''.join(seen)}")


@pytest.fixture
def image_folder(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.full((48, 64, 3), 10 * number, dtype=np.uint8))
    return folder


def test_graph_of_three_processes_records_every_pose(start, tmp_path, image_folder):
    from pose_estimation_ros.cli.demo_report import read_overlays
    from pose_estimation_ros.ros.bag import read_messages

    node = start("-c", NODE)
    files = ["--mcap", f"{tmp_path}/out.mcap", "--json", f"{tmp_path}/out.json"]
    recorder = start("-m", "pose_estimation_ros.ros.record_node", *files, "--idle-timeout", "5", "--table")
    wait_for_line(node, "ready after")
    time.sleep(0.5)
    images = ["--images", str(image_folder), "--intrinsics", "60", "60", "31.5", "23.5", "--frame-id", "cam"]
    timing = ["--rate", "5", "--wait-subscribers", "1", "--stamps", f"{tmp_path}/stamps.json"]
    player = start("-m", "pose_estimation_ros.ros.play_node", *images, *timing)
    output, _ = player.communicate(timeout=30)
    assert player.returncode == 0, output
    table, _ = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, table
    assert "cube_1" in table
    node.send_signal(signal.SIGINT)
    text, _ = node.communicate(timeout=20)
    assert node.returncode == 0, text

    stamps = [entry["stamp_ns"] for entry in json.loads((tmp_path / "stamps.json").read_text())]
    frames = json.loads((tmp_path / "out.json").read_text())["frames"]
    assert len(stamps) == IMAGES
    # A busy machine may drop some, as real cameras' images are dropped; none may be mixed up.
    assert len(frames) >= IMAGES // 2
    for frame in frames:
        number = stamps.index(frame["stamp_ns"])
        (item,) = frame["objects"]
        assert np.allclose(np.array(item["camera_from_object"])[:3, 3], (0.01 * number, 0.0, 0.5))
        assert np.allclose(frame["transforms"]["cube_1"], item["camera_from_object"])
        assert 0 < frame["tf_receive_ns"] - frame["stamp_ns"] < 2e9
    messages = list(read_messages(tmp_path / "out.mcap"))
    parents = {item.header.frame_id for topic, _, message in messages if topic == "/tf" for item in message.transforms}
    assert parents == {"cam"}
    counts = {name: sum(topic == name for topic, _, _ in messages) for name in {topic for topic, _, _ in messages}}
    for topic in ("/tf", "/pose_estimation/detections", "/pose_estimation/markers", "/pose_estimation/overlay"):
        assert counts[topic] == len(frames), counts
    assert counts["/diagnostics"] > 0
    overlays = dict(read_overlays(tmp_path / "out.mcap"))
    assert list(overlays) == [frame["stamp_ns"] for frame in frames]
    assert all(image.shape == (48, 64, 3) for image in overlays.values())
    assert all(image.std() > 5.0 for image in overlays.values())  # something is drawn on the plain image


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_node_exits_with_zero(start, number):
    node = start("-c", NODE)
    wait_for_line(node, "ready after")
    node.send_signal(number)
    output, _ = node.communicate(timeout=20)
    assert node.returncode == 0, output
    assert "Traceback" not in output


def test_missing_bundle_leaves_the_process_alive_until_it_is_told_to_go(start):
    node = start("-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", "bundle:=no_such_bundle")
    wait_for_line(node, "not configured: bundle 'no_such_bundle': no bundle.yaml in")
    time.sleep(0.5)
    assert node.poll() is None
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=20)
    assert node.returncode == 0


SIGNALS = [signal.SIGINT, signal.SIGTERM]


def wait_until_caught(process: subprocess.Popen, number: int) -> None:
    """Wait until the process has a handler of its own: Python has none for SIGTERM."""
    for _ in range(1000):
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1:
            return
        time.sleep(0.005)
    raise AssertionError("the process catches no SIGTERM")


@pytest.mark.parametrize("number", SIGNALS)
def test_node_interrupted_while_its_modules_are_imported_exits_with_zero(start, number):
    node = start("-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", "autostart:=false")
    wait_until_caught(node, signal.SIGTERM)
    node.send_signal(number)
    output, _ = node.communicate(timeout=20)
    assert (node.returncode, output) == (0, "")


def signal_until_it_ends(process: subprocess.Popen) -> str:
    """Send one signal after another, return what the process says."""
    for count in range(1000):
        if process.poll() is not None:
            break
        process.send_signal(SIGNALS[count % 2])
        time.sleep(0.004)
    output, _ = process.communicate(timeout=20)
    return output


NODE_WITHOUT_BUNDLE = ("-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", "bundle:=no_such_bundle")
PLAYER = (
    *("-c", "import sys; from pose_estimation_ros.ros.start import play; sys.exit(play())"),
    *("--images", "{images}", "--intrinsics", "60", "60", "31.5", "23.5", "--wait-subscribers", "1"),
)


@pytest.mark.parametrize(
    ("command", "line"),
    [(NODE_WITHOUT_BUNDLE, "not configured"), (PLAYER, "waiting for 1 subscribers")],
    ids=["node", "player"],
)
def test_signals_that_follow_the_first_do_not_disturb_the_end(start, image_folder, command, line):
    process = start(*(word.format(images=image_folder) for word in command))
    wait_for_line(process, line)
    output = signal_until_it_ends(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_signals_that_follow_the_first_do_not_disturb_the_end_of_the_recorder(start, tmp_path):
    code = "import sys; from pose_estimation_ros.ros.start import record; sys.exit(record())"
    recorder = start("-c", code, "--json", f"{tmp_path}/out.json")
    time.sleep(0.5)
    wait_until_caught(recorder, signal.SIGTERM)
    output = signal_until_it_ends(recorder)
    assert recorder.returncode == 0, output
    assert "Traceback" not in output


LOADING = NODE.replace("sys.exit(main(", "import time; sys.exit(main(").replace(
    "lambda parameters: LoadedPipeline(Pipeline(), Catalog((cube,)))", "lambda parameters: time.sleep(60)"
)


def test_node_terminated_while_it_loads_exits_with_zero_and_at_once(start):
    node = start("-c", LOADING)
    wait_for_line(node, "loading bundle")
    node.send_signal(signal.SIGTERM)
    output, _ = node.communicate(timeout=10)
    assert node.returncode == 0, output
    assert "Traceback" not in output
    assert "not configured" not in output


HALF_MADE = """
import signal
import rclpy.executors
from pose_estimation_ros.ros.running import answering_signals, start_rclpy

class Interrupted(rclpy.executors.SignalHandlerGuardCondition):
    def __init__(self, context=None):
        signal.raise_signal(signal.SIGINT)
        super().__init__(context)

rclpy.executors.SignalHandlerGuardCondition = Interrupted
with answering_signals() as ending:
    start_rclpy(ending, ["program"])
    print("went on")
print("ended", rclpy.ok())
"""


def test_a_signal_in_the_midst_of_the_start_of_rclpy_leaves_nothing_half_made(start):
    process = start("-c", HALF_MADE)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "ended False\n")


MADE_ANOTHER_ERROR = """
import signal, sys
from pose_estimation_ros.ros.running import answering_signals

with answering_signals():
    try:
        if "signalled" in sys.argv:
            signal.raise_signal(signal.SIGTERM)
    finally:
        raise RuntimeError("Unable to convert call argument")
"""


@pytest.mark.parametrize(("word", "code", "said"), [("signalled", 0, False), ("left alone", 1, True)])
def test_a_signal_of_which_c_code_makes_another_error_ends_the_program_as_any(start, word: str, code: int, said: bool):
    """rclpy converts messages in C, which calls Python: what a signal raises there comes out as something else."""
    process = start("-c", MADE_ANOTHER_ERROR, word)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, "RuntimeError" in output) == (code, said)
