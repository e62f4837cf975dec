"""The page in a real browser: a frame is added, put where a click is, dragged and saved."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.frame_editing.picking import MeshPicker
from pose_estimation_ros.objects.bundle import load_bundle

from ..browser import NAMES, Browser, find_browser

ROOT = Path(__file__).parents[2]
PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"no browser: none of {', '.join(NAMES)} on the path")
CANVAS = "canvas"
NUMBERS = (
    "[...document.querySelectorAll('input')].filter(item => item.type == 'text').slice(-7, -1).map(item => item.value)"
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    demo, folder = load_bundle("demo"), tmp_path / "mine"
    shutil.copytree(demo.path / "meshes", folder / "meshes")
    shutil.copy(demo.path / "bundle.yaml", folder)
    return folder


@pytest.fixture
def command(mine: Path) -> Iterator[subprocess.Popen[str]]:
    """Serve the page."""
    words = ["--bundle", str(mine), "--object", "toy_brick", "--port", "18190"]
    with subprocess.Popen(
        [sys.executable, "-m", "pose_estimation_ros.cli.frames", *words],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def page(command: subprocess.Popen[str], tmp_path: Path) -> Iterator[Browser]:
    line = next(line for line in command.stdout or () if line.startswith("pose_frames: "))
    with Browser(PROGRAM, tmp_path / "browser") as browser:
        browser.open(line.split()[-1])
        yield browser


def press(page: Browser, label: str) -> None:
    page.evaluate(f"[...document.querySelectorAll('button')].find(item => item.innerText == '{label}').click()")


def text_has(page: Browser, words: str) -> None:
    page.wait_for(f"document.body?.innerText.includes({words!r})")


def frames(folder: Path) -> dict[str, np.ndarray]:
    (brick,) = (model for model in load_bundle(folder).catalog if model.name == "toy_brick")
    return {frame.name: frame.object_from_frame for frame in brick.frames}


def test_a_frame_is_placed_by_a_click_and_saved(command: subprocess.Popen[str], page: Browser, mine: Path) -> None:
    before = (mine / "bundle.yaml").read_text()
    text_has(page, "All is saved.")
    page.evaluate("[...document.querySelectorAll('input')].at(-1).focus()")
    for letter in "grip":
        page.key(letter)
    time.sleep(0.5)  # viser gathers what is typed for a moment, and sends clicks at once
    press(page, "Add")
    text_has(page, "Not saved yet: toy_brick")
    # Clicked again and again: the mesh may not be drawn yet, and a click beside it does nothing.
    place = page.place(CANVAS, 0.5, 0.55)
    page.wait_for(f"{NUMBERS} == '0,0,29,0,0,0'")
    end = time.monotonic() + 60.0
    while page.evaluate(f"{NUMBERS}.join()") == "0,0,29,0,0,0":
        assert time.monotonic() < end
        page.click_at(*place)
        time.sleep(0.2)
    press(page, "Save")
    text_has(page, "Saved.")
    text_has(page, "All is saved.")
    grip = frames(mine)["grip"]
    mesh = load_bundle(mine).load_mesh(2)
    below = MeshPicker(mesh).pick(grip[:3, 3] + 0.1 * grip[:3, 2], -grip[:3, 2])
    np.testing.assert_allclose(below.point, grip[:3, 3], atol=1e-5)  # whole micrometres in the file
    np.testing.assert_allclose(below.normal, grip[:3, 2], atol=1e-4)
    lines = (mine / "bundle.yaml").read_text().splitlines(keepends=True)
    added = [line for line in lines if line == "  frames:\n" or line.startswith("    grip: ")]
    assert len(added) == 2 and "".join(line for line in lines if line not in added) == before

    press(page, "Delete")
    text_has(page, "grip is deleted")
    press(page, "Undo")
    text_has(page, "All is saved.")
    press(page, "Delete")
    text_has(page, "Not saved yet: toy_brick")
    command.send_signal(signal.SIGINT)
    assert "not saved: toy_brick" in next(iter(command.stderr or ()))
    command.send_signal(signal.SIGINT)
    assert command.wait(60.0) == 0 and list(frames(mine)) == ["grip"]
