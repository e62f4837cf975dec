"""The figures of the soak, from what an observer saw; its camera; and the network that it takes down."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.geometry.camera import Camera

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def observer(monkeypatch):
    """Return an observer that listens to nothing."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import soak_observer

    monkeypatch.setattr(
        soak_observer, "SingleThreadedExecutor", lambda: SimpleNamespace(add_node=id, spin=lambda: None)
    )
    heard = {}
    node = SimpleNamespace(create_subscription=lambda kind, topic, callback, qos: heard.update({topic: callback}))
    found = soak_observer.Observer(node)
    found.heard = heard  # what the topics' messages are given to
    yield found
    del sys.modules["soak_observer"]


def results(observer, moments):
    observer.results = [SimpleNamespace(stamp_ns=int(1e9 * moment), arrived_s=moment) for moment in moments]


def test_silences_are_long_unusual_and_not_explained(observer):
    results(observer, [0.0, 0.1, 0.2, 5.2, 5.3, 9.3, 9.4])
    assert observer.silences([]) == pytest.approx([5.0, 4.0])
    assert observer.silences([(1.0, 2.0)]) == pytest.approx([4.0])
    results(observer, [0.0, 1.0, 2.0, 6.0, 7.0])  # five times the usual is more than two seconds
    assert observer.silences([]) == []


def diagnostics(stamp_s=2_000_000_000, state="active", **counts):
    values = [SimpleNamespace(key=f"frames_{name}", value=str(value)) for name, value in counts.items()]
    values.append(SimpleNamespace(key="state", value=state))
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_s, nanosec=0))
    return SimpleNamespace(header=header, status=[SimpleNamespace(name="/pose_estimation", message="", values=values)])


def test_images_whose_fate_is_unknown_are_told(observer):
    observer.heard["/diagnostics"](diagnostics(received=10, processed=4, refused=1, dropped=2, ignored=0))
    assert observer.unaccounted == 0
    observer.heard["/diagnostics"](diagnostics(received=11, processed=4, refused=1, dropped=2, ignored=0))
    observer.heard["/diagnostics"](diagnostics(received=11, processed=12, refused=0, dropped=0, ignored=0))
    assert observer.unaccounted == 2


def test_the_first_result_after_a_stamp_is_not_the_newest(observer):
    results(observer, [1.0, 2.0, 3.0, 4.0])
    assert observer.first_result_after(1_500_000_000, 0.1).arrived_s == 2.0
    results(observer, [float(second) for second in range(1000)])  # a fault that lasts
    assert observer.first_result_after(1_500_000_000, 0.1).arrived_s == 2.0
    assert observer.first_result_after(1_000_000_000_000, 0.02) is None


def test_tf_stamps_that_come_twice_are_counted_by_frame(observer):
    stamp = SimpleNamespace(sec=1, nanosec=0)
    mug, cup = (SimpleNamespace(child_frame_id=name, header=SimpleNamespace(stamp=stamp)) for name in ("mug", "cup"))
    observer.heard["/tf"](SimpleNamespace(transforms=[mug, cup]))
    assert observer.duplicates == 0
    observer.heard["/tf"](SimpleNamespace(transforms=[mug]))
    assert observer.duplicates == 1


def test_the_last_words_of_a_process_that_is_gone_do_not_count_for_the_next(observer):
    counts = {"processed": 4, "refused": 1, "dropped": 2, "ignored": 0}
    observer.heard["/diagnostics"](diagnostics(received=10, **counts))
    observer.new_process()
    assert observer.state == ""
    observer.heard["/diagnostics"](diagnostics(stamp_s=1, received=11, **counts))
    assert (observer.state, observer.counts["received"], observer.past["received"]) == ("", 0, 10)
    observer.heard["/diagnostics"](diagnostics(stamp_s=4_000_000_000, received=3, **counts))
    assert (observer.state, observer.counts["received"]) == ("active", 3)


@pytest.fixture
def benchmark(monkeypatch):
    """Return a function that imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("size", [(1920, 1080), (640, 480), (300, 900)])
def test_the_camera_of_an_enlarged_image_is_its_own(benchmark, size):
    camera = Camera(np.array([[604.0, 0.0, 321.4], [0.0, 604.0, 238.2], [0.0, 0.0, 1.0]]), 640, 480)
    pixel = np.array([[330.0, 231.0]])
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[231, 330] = 255
    enlarged, seen_by = benchmark("soak_peers").enlarged(rgb, camera, *size)
    assert (enlarged.shape[1], enlarged.shape[0]) == (seen_by.width, seen_by.height) == size
    assert seen_by.intrinsics[0, 0] == pytest.approx(seen_by.intrinsics[1, 1], rel=0.01)  # nothing is stretched
    rows, columns = np.nonzero(enlarged[..., 0] == enlarged.max())
    expected = seen_by.project(camera.unproject(pixel, np.array([1.0])))[0]
    assert np.array([columns.mean(), rows.mean()]) == pytest.approx(expected, abs=0.6)


FIGURES = {
    "unexplained_gaps": 0,
    "duplicate_stamps": 1,
    "stale_stamps": 0,
    "poses_of_refused_frames": 0,
    "crashes": 0,
    "tracebacks": 0,
    "frames_in": 100,
    "errors": ["a"],
    "faults": {"start": {"recovery_s": 1.0}},
}


def test_what_the_network_broke_is_broken(benchmark):
    network = {**FIGURES, "errors": ["b"], "crashes": 2, "faults": {"start": {}, "network_down": {"recovery_s": 0.5}}}
    whole = benchmark("soak").with_network(FIGURES, network)
    assert (whole["crashes"], whole["duplicate_stamps"], whole["errors"]) == (2, 2, ["a", "b"])
    assert whole["faults"] == {"start": {"recovery_s": 1.0}, "network_down": {"recovery_s": 0.5}}
    assert (whole["frames_in"], whole["faults_skipped"]) == (100, {})


@pytest.mark.parametrize(
    ("way", "why"), [(["no_such_command"], "no_such_command: not installed"), (["false"], "false: exit code 1")]
)
def test_a_network_that_cannot_be_taken_down_is_told(benchmark, monkeypatch, tmp_path, way, why):
    monkeypatch.setattr(benchmark("soak_namespaces"), "WAYS_IN", (way,))
    assert benchmark("soak_network").main(["--report", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    skipped = benchmark("soak").with_network(FIGURES, report)["faults_skipped"]
    assert list(skipped) == ["network_down", "network_down_long"]
    assert set(skipped.values()) == {f"no network namespaces: {why}"}


ACROSS = """
import socket, subprocess, sys, time
from soak_namespaces import joined_namespace
with joined_namespace() as cable:
    receiver = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9000)); print('up', flush=True)"
    receiver += "; [print(s.recv(99).decode(), flush=True) for _ in range(99)]"
    command = [*cable.enter, sys.executable, "-I", "-S", "-c", receiver]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "up\\n"
    sender = socket.socket(type=socket.SOCK_DGRAM)
    def send(text):
        try:
            sender.sendto(text.encode(), ("192.0.2.2", 9000))
        except OSError as error:  # the network is unreachable
            print(type(error).__name__)
    for end in (0, 1):
        cable.set(end, "down")
        send(f"lost {end}")
        cable.set(end, "up")
        send(f"come {end}")
        print(other.stdout.readline().strip())
    other.kill()
    print(cable.enter[1], flush=True)
    time.sleep(60)
"""


def test_a_cable_joins_two_namespaces_that_end_with_their_process(benchmark):
    namespaces = benchmark("soak_namespaces")
    try:
        way = namespaces.way_in()
    except namespaces.NamespaceError as error:
        pytest.skip(f"no network namespaces here: {error}")
    command = [*way, sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{ACROSS}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("--net"):
            lines.append(process.stdout.readline().strip())
            assert lines[-1], lines
        process.kill()
    assert [line for line in lines[:-1] if line != "OSError"] == ["come 0", "come 1"]
    holder = Path(re.sub("/ns/net$", "", lines[-1].removeprefix("--net=")))
    for _ in range(500):
        if not holder.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{holder} lives on")
