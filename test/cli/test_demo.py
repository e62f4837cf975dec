"""The demo: a real graph of three processes, with a stand-in for the networks that knows the answers."""

from __future__ import annotations

import io
import json
import signal
import time

import cv2
import numpy as np
import pytest

from pose_estimation_ros.cli import demo
from pose_estimation_ros.cli.demo_report import Run, compare, summarise
from pose_estimation_ros.cli.graph import Graph, GraphError, free_domain_id
from pose_estimation_ros.cli.live_table import LiveTable
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.objects.bundle import load_bundle

# A pose node whose pipeline looks up the true poses of the demo's images; every duckling is 4 cm off, every mug missed.
NODE = """
import sys
from types import SimpleNamespace
import numpy as np
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.ros.loading import LoadedPipeline
from pose_estimation_ros.ros.node_process import main

bundle = load_bundle("demo")
dataset = BopDataset(bundle.path / "sequence")
images = [(dataset.read_rgb(image)[::8, ::8].astype(int), image.ground_truth) for image in dataset.images[:4]]

class Pipeline:
    lowest_score = 0.0
    def process(self, frame):
        poses = []
        _, truths = min(images, key=lambda item: np.abs(item[0] - frame.rgb[::8, ::8]).mean())
        for number, truth in enumerate(truths):
            model = bundle.catalog[bundle.catalog.index_of_id(truth.object_id)]
            pose = truth.camera_from_object.copy()
            if model.name == "duckling":
                pose[2, 3] += 0.04
            if model.name != "mug":
                poses.append(SimpleNamespace(name=model.name, object_index=truth.object_id - 1, track_id=number,
                    camera_from_object=pose, score=0.9, covariance=None, box=truth.box_full, mask=None))
        detections = [Detection(pose.object_index, 0.9, pose.box) for pose in poses]
        return SimpleNamespace(poses=poses, detections=detections, timings_s={"total": 0.001}, reason=None, tracks=[])
    def reset_tracks(self):
        pass

sys.exit(main(pipeline_factory=lambda parameters: LoadedPipeline(Pipeline(), bundle.catalog)))
"""


def needs_ros():
    pytest.importorskip("rclpy")
    pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")


def test_the_whole_demo(tmp_path, capsys):
    needs_ros()
    arguments = ["--count", "4", "--rate", "2.0", "--output", str(tmp_path / "out")]
    assert demo.main(arguments, ["-c", NODE]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    processed = report["frames_processed"]  # on a busy machine an image may be dropped
    assert report["frames_in"] == 4 and report["frames_dropped"] == 4 - processed and processed >= 1
    # Six instances in each image: one mug is missed and one duckling is wrong.
    assert report["recall_add_0_1d"] == pytest.approx(4 / 6)
    assert report["objects"]["toy_brick"]["instances"] == 2 * processed
    assert report["objects"]["mug"]["found"] == 0 and report["objects"]["bottle"]["recall_add_0_1d"] == 1.0
    assert report["objects"]["duckling"]["median_translation_mm"] == pytest.approx(40.0, abs=0.1)
    assert report["poses"] == report["transforms"] == 5 * processed
    assert 0.5 < report["latency_ms_p50"] < 5000.0
    overlays = sorted((tmp_path / "out/overlay").glob("*.png"))
    assert 1 <= len(overlays) == report["overlays"] <= processed
    played = BopDataset(load_bundle("demo").path / "sequence")
    drawn = cv2.imread(str(overlays[-1]))[..., ::-1]
    original = played.read_rgb(played.images[int(overlays[-1].stem)])
    changed = np.abs(drawn.astype(int) - original).max(axis=2) > 30
    assert 0.005 < changed.mean() < 0.5  # drawn into the right picture
    film = cv2.VideoCapture(str(tmp_path / "out/demo.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == len(overlays)
    assert "toy_brick" in capsys.readouterr().out


def test_a_node_that_cannot_start_is_told_in_one_line(tmp_path, capsys):
    needs_ros()
    broken = tmp_path / "broken"
    broken.mkdir()
    content = (load_bundle("demo").path / "bundle.yaml").read_text().split("networks:")[0] + "networks: {}\n"
    (broken / "bundle.yaml").write_text(content)
    sequence = load_bundle("demo").path / "sequence"
    assert demo.main(["--bundle", str(broken), "--bop", str(sequence), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("pose_demo: error: pose_node: ") and "pose_train" in message and message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bundle", "nowhere"], "no bundle.yaml"),
        (["--bop", "gone"], "gone: not found"),
        (["--rate", "0"], "--rate 0"),
        (["--count", "0"], "--count 0"),
    ],
)
def test_mistakes_are_named(tmp_path, capsys, arguments, said):
    assert demo.main([*arguments, "--output", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_frames_without_an_answer_count_as_dropped_and_not_as_wrong():
    bundle = load_bundle("demo")
    dataset = BopDataset(bundle.path / "sequence")
    first, second = dataset.images[:2]
    objects = [
        {
            "class": bundle.catalog[bundle.catalog.index_of_id(truth.object_id)].name,
            "score": 0.9,
            "camera_from_object": truth.camera_from_object.tolist(),
        }
        for truth in first.ground_truth
    ]
    start = 1_000_000_000
    frame = {
        "stamp_ns": start,
        "receive_ns": start + 52_000_000,
        "tf_receive_ns": start + 50_000_000,
        "objects": objects,
    }
    run = Run({start: first.key, 2 * start: second.key}, ({**frame, "transforms": {}},), {"pose_ms": "12.5"})
    report = summarise(run, compare(run, bundle, dataset), bundle, dataset, 1.0)
    assert (report["frames_in"], report["frames_processed"], report["frames_dropped"]) == (2, 1, 1)
    assert report["recall_add_0_1d"] == 1.0 and report["recall_add_0_1d_all_frames"] == pytest.approx(0.5)
    assert report["latency_ms_p50"] == pytest.approx(50.0) and report["stage_ms_p50"]["pose"] == 12.5


class TestGraph:
    """Processes end, whatever they do."""

    def test_lines_are_heard_and_logged(self, tmp_path):
        heard = []
        with Graph(tmp_path, 77) as graph:
            graph.start("talker", ["-c", "import os; print('domain', os.environ['ROS_DOMAIN_ID'])"], heard.append)
            assert graph.wait_for_line("talker", lambda line: line.startswith("domain"), 20.0) == "domain 77"
            assert graph.wait("talker", 20.0) == 0
        assert heard == ["domain 77"] and (tmp_path / "talker.log").read_text() == "domain 77\n"

    def test_an_early_end_is_an_error_with_the_last_words(self, tmp_path):
        with Graph(tmp_path, 77) as graph:
            graph.start("node", ["-c", "print('no camera'); raise SystemExit(3)"])
            with pytest.raises(GraphError, match=r"node: ended with exit code 3 \(no camera; see"):
                graph.wait_for_line("node", lambda line: "ready" in line, 20.0)

    def test_silence_is_an_error(self, tmp_path):
        with Graph(tmp_path, 77) as graph:
            graph.start("node", ["-c", "import time; time.sleep(60)"])
            with pytest.raises(GraphError, match="nothing to be heard for 1 s"):
                graph.wait_for_line("node", lambda line: True, 1.0)

    def test_a_process_that_ignores_interrupts_is_ended_all_the_same(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pose_estimation_ros.cli.graph._PATIENCE_S", (0.5, 2.0, 2.0))
        with Graph(tmp_path, 77) as graph:
            graph.start(
                "deaf", ["-c", "import signal, time; signal.signal(2, signal.SIG_IGN); print('up'); time.sleep(60)"]
            )
            graph.wait_for_line("deaf", lambda line: line == "up", 20.0)
            assert graph.stop("deaf") == -signal.SIGTERM

    def test_an_exception_leaves_nothing_behind(self, tmp_path):
        def fail():
            with Graph(tmp_path, 77) as graph:
                graph.start("node", ["-c", "import time; print('up'); time.sleep(60)"])
                graph.wait_for_line("node", lambda line: line == "up", 20.0)
                processes.append(graph)
                raise KeyboardInterrupt

        processes: list[Graph] = []
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert not processes[0].is_running("node") and time.monotonic() - started < 30.0

    def test_a_busy_domain_is_not_chosen(self, monkeypatch):
        import socket

        monkeypatch.setattr("pose_estimation_ros.cli.graph._LARGEST_DOMAIN", 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
            busy.bind(("", 7410 + 250))
            assert free_domain_id() == 2


def test_the_live_table_replaces_itself_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, marks in ((Terminal(), 1), (io.StringIO(), 0)):
        table = LiveTable(stream)
        for line in ("log line", "images 1", "  mug 1", "images 2", "  mug 1", "  bottle 2"):
            table.add(line)
        table.close()
        assert stream.getvalue().count("\x1b[2A") == marks
        assert "log line" not in stream.getvalue() and stream.getvalue().count("mug 1") == 2
