"""The page in a real browser: clicked through until there is a data set that pose_evaluate reads."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.cli import evaluate
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.metrics import rotation_error
from pose_estimation_ros.labelling.labels import Label, LabelBook
from pose_estimation_ros.labelling.object_views import VIEW_PX, ObjectViews
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.labelling.server import LabelServer
from pose_estimation_ros.labelling.session import LabelSession
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import RayCaster

from ..browser import NAMES, Browser, find_browser

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"no browser: none of {', '.join(NAMES)} on the path")
READY = "!/…$/.test(document.getElementById('status').textContent)"  # nothing is being worked on


@pytest.fixture
def page(session: LabelSession, tmp_path: Path) -> Iterator[Browser]:
    with opened(session, tmp_path, "1 of 3") as browser:
        yield browser


@contextmanager
def opened(session: LabelSession, tmp_path: Path, place: str) -> Iterator[Browser]:
    """Open the page of a session, and wait until it shows a place."""
    with LabelServer(session, 0) as server, Browser(PROGRAM, tmp_path / "profile") as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(server.address)
        browser.wait_for(f"document.getElementById('place')?.textContent.startsWith('{place}')")
        browser.wait_for(READY)
        yield browser
        server.shutdown()


def count_is(number: int) -> str:
    return f"document.querySelectorAll('#objects li').length === {number} && {READY}"


def add(page: Browser, name: str, count: int) -> None:
    page.evaluate(f"document.getElementById('add-name').value = '{name}'")
    page.click("#add")
    page.wait_for(count_is(count))


def place_in_photo(page: Browser, pixel: np.ndarray) -> tuple[float, float]:
    return page.place("#photo", *((pixel + 0.5) / (160.0, 120.0)))


def test_a_click_through_ends_with_a_data_set(
    page: Browser, photos: list[Photo], book: LabelBook, meshes: list[Mesh], tmp_path: Path
) -> None:
    camera = photos[0].frame().camera
    wedge, cube = (truth.camera_from_object for truth in photos[0].poses)
    # The wedge: placed in the middle, dragged to about where it is, nearer and turned by keys, refined, accepted.
    add(page, "obj_000001", 1)
    page.drag(page.place("#photo", 0.5, 0.5), place_in_photo(page, camera.project(wedge[None, :3, 3])[0]))
    for _ in range(3):
        page.key("+")
    page.key("]")
    page.wait_for(f"document.querySelector('#objects small').textContent.includes(' px') && {READY}")
    page.click("#refine")
    page.wait_for(READY)
    page.click("#accept")
    page.wait_for("document.querySelector('#objects li').textContent.includes('accepted')")
    # The cube: pairs of points, clicked in the picture of the object and in the photograph; rejected, and that undone.
    add(page, "obj_000002", 2)
    page.click("#by-points")
    page.wait_for(f"document.getElementById('pairs').textContent === '0 pairs' && {READY}")
    views = ObjectViews(meshes, RayCaster(meshes))
    for x, y in ((200, 110), (150, 170), (260, 170), (160, 260), (240, 270)):
        page.click_at(*page.place("#view", (x + 0.5) / VIEW_PX, (y + 0.5) / VIEW_PX))
        point = cube[:3, :3] @ views.point(1, 30.0, 30.0, x, y) + cube[:3, 3]
        page.click_at(*place_in_photo(page, camera.project(point[None])[0]))
    assert page.evaluate("document.getElementById('pairs').textContent") == "5 pairs"
    page.click("#pose-from-points")
    page.wait_for(f"document.getElementById('status').textContent.startsWith('Pose from 5 pairs') && {READY}")
    page.key("x")
    page.wait_for("document.querySelectorAll('#objects li')[1].textContent.includes('rejected')")
    page.key("u")
    page.wait_for("document.querySelectorAll('#objects li')[1].textContent.includes('to be judged')")
    page.key("a")
    page.wait_for("document.querySelectorAll('#objects li')[1].textContent.includes('accepted')")
    # The networks find what is in the second photograph; all of it is accepted with one key.
    page.key("n")
    page.wait_for(f"document.getElementById('place').textContent.startsWith('2 of 3') && {READY}")
    page.key("f")
    page.wait_for(count_is(3))
    page.key("A")
    page.wait_for("document.getElementById('status').textContent.startsWith('Saved')")
    # The third starts from the second, as in a video.
    page.key("n")
    page.wait_for(f"document.getElementById('place').textContent.startsWith('3 of 3') && {READY}")
    assert page.evaluate("document.querySelectorAll('#objects li').length") == 3

    labels = book.of(photos[0].key)
    assert [(label.object_name, label.verdict) for label in labels] == [
        ("obj_000001", "accept"),
        ("obj_000002", "accept"),
    ]
    assert np.linalg.norm(labels[0].camera_from_object[:3, 3] - wedge[:3, 3]) < 0.02
    assert rotation_error(labels[1].camera_from_object, cube) < np.radians(6.0)
    report = evaluated(book.path.parent, tmp_path)
    assert report["images"] == 2 and report["all"]["ar"] == 1.0


def test_the_page_begins_where_nothing_was_found(
    session: LabelSession, photos: list[Photo], book: LabelBook, tmp_path: Path
) -> None:
    wedge = Label("obj_000001", photos[0].poses[0].camera_from_object, "accept")
    for photo, labels in zip(photos, ([wedge], [], [replace(wedge, verdict="doubt")]), strict=True):
        book.put(photo.key, photo.path.name, labels)
    with opened(session, tmp_path, "2 of 3") as browser:
        assert browser.evaluate("document.querySelectorAll('#objects li').length") == 0


def evaluated(folder: Path, tmp_path: Path) -> dict:
    """Run pose_evaluate on a data set, on results that are its own ground truth."""
    rows = ["scene_id,im_id,obj_id,score,R,t,time"]
    for image in BopDataset(folder).images:
        for truth in image.ground_truth:
            rotation, place = truth.camera_from_object[:3, :3].reshape(-1), truth.camera_from_object[:3, 3] * 1000.0
            numbers = (" ".join(map(repr, item.tolist())) for item in (rotation, place))
            rows.append(f"{image.scene_id},{image.image_id},{truth.object_id},1,{','.join(numbers)},-1")
    (tmp_path / "own_tiny-test.csv").write_text("\n".join(rows) + "\n")
    files = ["--from-csv", str(tmp_path / "own_tiny-test.csv"), "--result", str(tmp_path / "result.json")]
    assert evaluate.main(["--bop", str(folder), "--no-vsd", *files]) == 0
    return json.loads((tmp_path / "result.json").read_text())["figures"]
