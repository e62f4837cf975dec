"""What the page asks its server, without a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.labelling.labels import LabelBook
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.labelling.server import LabelServer
from pose_estimation_ros.labelling.session import LabelSession

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def server(session: LabelSession) -> Iterator[LabelServer]:
    with LabelServer(session, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def ask(server: LabelServer) -> Ask:
    def request(path: str, content: Any = None, **headers: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", server.server_port)
        body = None if content is None else json.dumps(content)
        headers = {"Content-Type": "application/json", **headers}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer) if "json" in response.headers["Content-Type"] else answer

    return request


def as_sent(photo: Photo, verdict: str = "doubt") -> list[dict[str, Any]]:
    return [
        {"object": f"obj_{item.object_id:06d}", "pose": item.camera_from_object.tolist(), "verdict": verdict}
        for item in photo.poses
    ]


def test_the_page_and_its_files_are_sent_and_nothing_else(ask: Ask) -> None:
    status, page = ask("/")
    assert status == 200
    for name in (b"page/label.css", b"page/label.js"):
        assert name in page and ask(f"/{name.decode()}")[0] == 200
    for path in ("/page/../session.py", "/page/%2e%2e/session.py", "/page/session.py", "/etc/passwd", "/api/users"):
        assert ask(path)[0] == 404


def test_everything_that_the_page_loads_is_its_own(ask: Ask) -> None:
    folder = Path(__import__("pose_estimation_ros.labelling", fromlist=["page"]).__file__).with_name("page")
    for path in folder.iterdir():
        assert "//" not in path.read_text().replace("// ", ""), path  # no address of another server


def test_other_sites_cannot_use_the_server(ask: Ask, photos: list[Photo], book: LabelBook) -> None:
    assert ask("/api/photos", Host="example.org")[0] == 403
    sent = {"objects": as_sent(photos[0], "accept")}
    assert ask("/api/photos/0/save", sent, **{"Content-Type": "text/plain"})[0] == 403
    assert photos[0].key not in book


def test_a_photograph_is_sent_with_its_camera_and_without_poses(ask: Ask, photos: list[Photo]) -> None:
    status, photo = ask("/api/photos/0")
    assert status == 200 and photo["origin"] == "none" and photo["objects"] == []
    assert photo["intrinsics"] == photos[0].frame().camera.intrinsics.tolist()
    picture = cv2.imdecode(np.frombuffer(ask("/api/photos/0/picture")[1], dtype=np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(picture[..., ::-1].astype(int) - photos[0].frame().rgb).mean() < 5.0


def test_poses_are_checked_refined_and_saved(ask: Ask, photos: list[Photo], book: LabelBook) -> None:
    sent = as_sent(photos[0])
    sent[1]["pose"][0][3] += 0.02
    checked = ask("/api/photos/0/check", {"objects": sent})[1]
    assert checked[0]["residual_px"] < 1.0 < checked[1]["residual_px"]
    refined = ask("/api/photos/0/refine", {"objects": sent, "rows": [1]})[1]
    assert refined[0]["pose"] == sent[0]["pose"] and refined[1]["residual_px"] < 1.0
    for item in refined:
        item["verdict"] = "accept"
    assert ask("/api/photos/0/save", {"objects": refined})[0] == 200
    labels = book.of(photos[0].key)
    assert [label.verdict for label in labels] == ["accept", "accept"] and all(label.by_hand for label in labels)
    (image,) = BopDataset(book.path.parent).images
    assert np.allclose(image.ground_truth[1].camera_from_object, refined[1]["pose"])
    assert ask("/api/photos")[1]["photos"][0]["verdicts"] == ["accept", "accept"]
    # The next photograph starts from it.
    following = ask("/api/photos/1")[1]
    assert following["origin"] == "previous" and [item["pose"] for item in following["objects"]] == [
        item["pose"] for item in refined
    ]


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), cv2.error("bad argument")], ids=["torch", "cv2"])
def test_what_goes_wrong_on_this_side_is_told_and_the_server_goes_on(
    ask: Ask, session: LabelSession, monkeypatch: pytest.MonkeyPatch, capsys, error: Exception
) -> None:
    def fail(number: int) -> None:
        raise error

    monkeypatch.setattr(session, "find", fail)
    status, answer = ask("/api/photos/1/find", {})
    assert status == 500 and answer == {"error": f"{type(error).__name__}: {error}"}
    told = capsys.readouterr().err
    assert told.startswith("Traceback") and str(error) in told
    assert ask("/api/photos/1")[0] == 200


def test_the_networks_find_objects(ask: Ask, photos: list[Photo]) -> None:
    found = ask("/api/photos/1/find", {})[1]
    assert [item["object"] for item in found] == [f"obj_{item.object_id:06d}" for item in photos[1].poses]
    assert all(item["verdict"] == "doubt" and item["probability"] > 0.0 for item in found)


def test_points_give_a_pose(ask: Ask, session: LabelSession, photos: list[Photo]) -> None:
    cube, camera = photos[0].poses[1].camera_from_object, photos[0].frame().camera
    pairs = []
    for azimuth, x, y in ((30.0, 200, 110), (30.0, 150, 170), (30.0, 260, 170), (90.0, 200, 240), (90.0, 180, 250)):
        point = session._views.point(1, azimuth, 30.0, x, y)
        pixel = camera.project((cube[:3, :3] @ point + cube[:3, 3])[None])[0]
        pairs.append({"view": [azimuth, 30.0, x, y], "photo": pixel.tolist()})
    status, found = ask("/api/photos/0/points", {"object": "obj_000002", "pairs": pairs})
    assert status == 200 and np.allclose(found["pose"], cube, atol=1e-4)
    assert ask("/api/objects/obj_000002/view?azimuth=30&elevation=30")[1][:4] == b"\x89PNG"
    assert ask("/api/photos/0/points", {"object": "obj_000002", "pairs": pairs[:3]})[0] == 400
    pairs[0]["view"] = [30.0, 30.0, 2, 2]
    status, answer = ask("/api/photos/0/points", {"object": "obj_000002", "pairs": pairs})
    assert status == 400 and "beside the object" in answer["error"]


@pytest.mark.parametrize(
    ("path", "change", "status", "said"),
    [
        ("/api/photos/9/check", {}, 404, "photograph 9: expected 0 to 2"),
        ("/api/photos/0/check", {"object": "cup"}, 404, "object 'cup': expected one of"),
        ("/api/photos/0/check", {"verdict": "maybe"}, 400, "verdict 'maybe': expected one of accept"),
        ("/api/photos/0/check", {"pose": [[1.0] * 4] * 4}, 400, "expected a rotation"),
        ("/api/photos/0/check", {"pose": [1.0]}, 400, "expected 16 finite numbers"),
        ("/api/photos/0/refine", {}, 400, "'rows' missing"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    ask: Ask, photos: list[Photo], path: str, change: dict[str, Any], status: int, said: str
) -> None:
    sent = as_sent(photos[0])
    sent[0] |= change
    found, answer = ask(path, {"objects": sent})
    assert found == status and said in answer["error"]
