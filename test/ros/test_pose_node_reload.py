"""A real node that takes a changed bundle while it runs, and keeps to the old one where the new one is broken."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from std_srvs.srv import Trigger  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle  # noqa: E402
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame, ObjectModel  # noqa: E402
from pose_estimation_ros.ros.loading import LoadedPipeline, mesh_uris  # noqa: E402
from pose_estimation_ros.ros.parameters import node_settings, run_settings  # noqa: E402

from .camera_messages import send_until_processed  # noqa: E402
from .conftest import FakePipeline  # noqa: E402

DRILL = ObjectModel(9, "drill", 0.1, ((-0.03, -0.03, -0.04), (0.03, 0.03, 0.04)), Path("drill.ply"))
SERVICE = "/pose_estimation/reload"


class Factory:
    """Read the bundle as the real one does; the networks find every object that the bundle has."""

    def __init__(self, poses: list) -> None:
        self.poses = poses
        self.pipelines: list[FakePipeline] = []
        self.may_load = threading.Event()
        self.may_load.set()

    def __call__(self, given):
        assert self.may_load.wait(10.0)
        bundle = load_bundle(node_settings(given).bundle)
        settings = run_settings(given, bundle)
        bundle.catalog.indices_of(settings.pipeline.objects)
        known = [pose for pose in self.poses if bundle.catalog.index_of_name(pose.name) is not None]
        self.pipelines.append(FakePipeline(known))
        uris = mesh_uris(bundle, None)
        return LoadedPipeline(self.pipelines[-1], bundle.catalog, uris, str(bundle.path), settings=settings.values())


@pytest.fixture
def factory(poses) -> Factory:
    return Factory(poses)


@pytest.fixture
def bundle(tmp_path, catalog) -> Bundle:
    written = Bundle(tmp_path / "mine", "mine", catalog, {}, PosePrior())
    save_bundle(written)
    return written


def reload(bench):
    return bench.call(Trigger, SERVICE, Trigger.Request())


def test_an_object_that_was_added_is_known_after_a_reload_and_tracks_go_on(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    save_bundle(replace(bundle, catalog=Catalog((*bundle.catalog, DRILL))))
    answer = reload(bench)
    assert answer.success, answer.message
    assert answer.message.endswith("; objects: box, can, drill; added: drill")
    send_until_processed(bench, 2)
    old, new = factory.pipelines
    assert (len(old.frames), len(new.frames)) == (1, 1)
    assert new.previous is old


def test_frames_that_were_placed_are_published_after_a_reload_as_long_as_their_object_is_and_tracks_go_on(
    make_bench, factory, bundle
):
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    lid = np.eye(4)
    lid[2, 3] = 0.05
    box = replace(bundle.catalog[0], frames=(ObjectFrame("lid", lid),))
    save_bundle(replace(bundle, catalog=Catalog((box, bundle.catalog[1]))))
    assert reload(bench).message.endswith("; objects: box, can; other frames: box")
    send_until_processed(bench, 2)
    bench.wait(lambda: len(bench.received["tf"]) == 2, "transforms")
    before, after = ([item.child_frame_id for item in message.transforms] for message in bench.received["tf"])
    assert (before, after) == (["box_1", "can_2"], ["box_1", "can_2", "box_1/lid"])
    placed = bench.received["tf"][1].transforms[2]
    assert (placed.header.frame_id, placed.header.stamp.sec) == ("box_1", 2)
    assert placed.transform.translation.z == 0.05
    factory.pipelines[-1].poses = factory.poses[1:]  # the box has gone
    send_until_processed(bench, 3)
    bench.wait(lambda: len(bench.received["tf"]) == 3, "transforms")
    assert [item.child_frame_id for item in bench.received["tf"][2].transforms] == ["can_2"]


def test_markers_of_an_object_that_is_gone_are_deleted(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.received["markers"], "markers")
    save_bundle(replace(bundle, catalog=Catalog((bundle.catalog[0],))))
    answer = reload(bench)
    assert answer.message.endswith("; objects: box; removed: can")
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "deletion")
    deleted = bench.received["markers"][-1].markers
    assert {marker.ns.partition("/")[2] for marker in deleted} == {"can"}
    assert {marker.action for marker in deleted} == {Marker.DELETE}


def test_images_are_answered_while_a_bundle_loads_and_a_second_call_is_refused(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    factory.may_load.clear()
    client = bench.client.create_client(Trigger, SERVICE)
    assert client.wait_for_service(10.0)
    answer = client.call_async(Trigger.Request())
    bench.wait(lambda: bench.value("reload") == "loading", "the reload")
    second = reload(bench)
    assert (second.success, second.message) == (False, "a reload is under way; call again when it has answered")
    send_until_processed(bench, 1)
    assert not answer.done()
    factory.may_load.set()
    bench.wait(answer.done, "an answer")
    assert answer.result().success
    assert answer.result().message.endswith("nothing else changed")
    bench.wait(lambda: bench.value("reload") == "", "the end of the reload")


def test_a_broken_bundle_is_refused_and_the_old_one_stays_until_it_is_mended(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    file = bundle.path / "bundle.yaml"
    whole = file.read_text()
    broken = ("objects: [", "bundle.yaml: "), (whole.replace("0.137", "137.0"), "diameter_m = 137")
    for second, (content, reason) in enumerate(broken, 1):
        file.write_text(content)
        answer = reload(bench)
        assert not answer.success
        assert answer.message.startswith("reload failed, the bundle of before stays in force: ")
        assert reason in answer.message
        send_until_processed(bench, second)
        bench.wait(lambda message=answer.message: bench.status_message().endswith(message), "the reason")
        assert bench.status().level == b"\x01"
    shutil.rmtree(bundle.path)
    assert "no bundle.yaml in" in reload(bench).message
    save_bundle(bundle)
    assert reload(bench).success
    send_until_processed(bench, 3)
    bench.wait(lambda: bench.status_message() == "2 objects", "good diagnostics")


def test_a_bundle_without_an_object_that_is_looked_for_is_refused(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path), objects=["can"])
    bench.wait_until_connected()
    save_bundle(replace(bundle, catalog=Catalog((bundle.catalog[0],))))
    answer = reload(bench)
    assert not answer.success
    assert answer.message.endswith("no object 'can'; expected names of box")
    send_until_processed(bench, 1)
    assert len(factory.pipelines) == 1


def test_a_node_that_is_not_configured_says_what_to_do(make_bench, factory, bundle):
    bench = make_bench(factory, bundle=str(bundle.path), autostart=False)
    answer = reload(bench)
    assert (answer.success, answer.message) == (False, "node is unconfigured: configure it, which loads the bundle")


def test_a_bundle_that_lost_a_mesh_is_refused(make_bench, factory, bundle):
    meshes = bundle.path / "meshes"
    meshes.mkdir()
    for name in ("box.ply", "can.ply"):
        (meshes / name).touch()
    bench = make_bench(factory, bundle=str(bundle.path))
    bench.wait_until_connected()
    (meshes / "can.ply").unlink()
    answer = reload(bench)
    assert not answer.success
    assert answer.message.endswith("mine: no mesh of can; expected one of every object")
