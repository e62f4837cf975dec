"""The page of a node that runs, in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("vision_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from ..browser import Browser, find_browser
from .camera_messages import image, info

ROOT = Path(__file__).parents[2]
SLIDER = "document.querySelector('[role=slider]')"


@pytest.fixture
def page(domain_id, tmp_path):
    """Serve the page of a node and open it."""
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed")
    command = [sys.executable, "-m", "pose_estimation_ros.ros.view.command", "--port", "18090"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        line = next(line for line in process.stdout if line.startswith("pose_view: "))
        with Browser(program, tmp_path / "browser") as browser:
            browser.open(line.split()[-1])
            yield browser
    finally:
        process.terminate()
        process.communicate(timeout=60)


def press(page, label):
    page.evaluate(f"[...document.querySelectorAll('button')].find(item => item.innerText == '{label}').click()")


def text_has(page, words):
    page.wait_for(f"document.body?.innerText.includes({words!r})")


def test_objects_appear_and_the_buttons_reach_the_node(make_bench, page):
    bench = make_bench()
    bench.wait_until_connected()
    text_has(page, "Reset tracks")
    seconds = count(1)

    def film() -> bool:
        """Send another image: what the page subscribed to a moment ago may not know it yet."""
        second = next(seconds)
        bench.send(image(second), info(second))
        return page.evaluate("document.body.innerText.includes('can_2')")

    bench.wait(film, "objects on the page")
    text_has(page, "-100\t0\t600")  # millimetres
    page.wait_for(f"{SLIDER} && {SLIDER}.getAttribute('aria-valuenow') == '0.5'")
    assert bench.node.get_parameter("detector.score_threshold").value == 0.5
    page.evaluate(f"{SLIDER}.focus()")
    page.evaluate(f"{SLIDER}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight', bubbles: true}}))")
    text_has(page, "detector.score_threshold = 0.51")
    assert bench.node.get_parameter("detector.score_threshold").value == pytest.approx(0.51)
    press(page, "Pause")
    bench.wait(lambda: "disabled" in bench.status_message(), "a paused node")
