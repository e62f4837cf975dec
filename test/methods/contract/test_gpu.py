"""Every method runs on a GPU as it does on a CPU, and the host seldom waits for it; shown without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_estimation_ros.methods.base import Method
from pose_estimation_ros.methods.registry import methods, pipeline_methods
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.bundle import load_bundle

from ...pretended_cuda import CUDA, Log, pretended_cuda
from .case import Case, View, make_case, methods_that

TOLERANCE = 1e-3  # of poses, metres and elements of rotations, and of boxes in pixels over a hundred
REAL_TOLERANCE = 1e-2  # kernels of another device sum in another order, and trained for seconds nothing is certain
REAL_SHARE = 0.5  # of the results that come so near
WAITS = 6  # in a frame: what decides which objects are looked at further, and the answer
WAITS_FOR_EACH = 4  # of the objects that are searched for one after the other
WAITS_IN_A_LIBRARY = 24  # detectors of torchvision wait for what survives each of their stages

takers_of_boxes = methods_that(lambda method: method.kind != "detector")
detectors = methods_that(lambda method: method.kind == "detector")


@pytest.fixture
def device() -> Iterator[Log]:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: see scripts/gpu_check.sh")
    # Whether a GPU computes in bfloat16 only a driver could say.
    with use_precision("float32"), pretended_cuda() as log:
        yield log


@pytest.fixture(scope="module")
def loaded() -> Callable[[Case], tuple[Case, Any]]:
    """Return a function from a case to itself on the device and its method there, which is loaded once."""
    known: dict[str, tuple[Case, Any]] = {}

    def load(case: Case) -> tuple[Case, Any]:
        if case.method.name not in known:
            there = replace(case, device=CUDA)
            known[case.method.name] = there, there.load()
        return known[case.method.name]

    return load


def anew(view: View, count: int | None = None) -> View:
    """Return a view, or the first objects of it, whose image no device has seen."""
    return replace(view.first(len(view.detections) if count is None else count), frame=replace(view.frame))


def values_of(found: list[Any]) -> np.ndarray:
    """Return what was found as numbers: poses, or boxes."""
    if not found:
        return np.zeros((0, 1))
    if hasattr(found[0], "camera_from_object"):
        return np.stack([np.append(item.camera_from_object.ravel(), item.score) for item in found])
    return np.stack([np.append(item.box / 100.0, item.score) for item in found])


def on_cpu(case: Case, view: View) -> list[Any]:
    with use_precision("float32"):
        return case.run(case.load(), anew(view))


def test_results_are_those_of_a_cpu(case: Case, loaded: Callable, request: pytest.FixtureRequest):
    view = case.views[1]
    wanted = on_cpu(case, view)
    request.getfixturevalue("device")
    there, instance = loaded(case)
    found = there.run(instance, anew(view))
    assert [item.object_index for item in found] == [item.object_index for item in wanted]
    np.testing.assert_allclose(values_of(found), values_of(wanted), atol=TOLERANCE)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_gpu_finds_what_a_cpu_finds(case: Case):
    there, view = replace(case, device=torch.device("cuda")), case.views[1]
    with use_precision("float32"):
        found, wanted = there.run(there.load(), anew(view)), on_cpu(case, view)
    assert len(found) == len(wanted)
    close = np.isclose(values_of(found), values_of(wanted), atol=REAL_TOLERANCE).all(axis=1)
    assert close.mean() >= REAL_SHARE


@takers_of_boxes
def test_the_host_waits_seldom_and_sends_the_image_once(case: Case, loaded: Callable, device: Log):
    there, instance = loaded(case)
    for count in (1, 3):
        view = anew(case.views[-1], count)
        there.run(instance, view)  # constants are sent once
        device.clear()
        there.run(instance, anew(view))
        assert device.count <= WAITS + WAITS_FOR_EACH * count, device.waits
        assert sum(size == view.frame.rgb.nbytes for size, _ in device.uploads) == 1, device.uploads


@detectors
def test_detectors_wait_no_more_the_more_they_find(case: Case, loaded: Callable, device: Log):
    there, instance = loaded(case)
    there.run(instance, anew(case.views[-1]))
    device.clear()
    found = there.run(instance, anew(case.views[-1]))
    assert device.count <= WAITS_IN_A_LIBRARY, (len(found), device.waits)


@pytest.fixture(params=[name for name, item in pipeline_methods().items() if item.training is not None])
def trained(request: pytest.FixtureRequest) -> Method:
    return methods()[request.param]


def test_what_is_trained_on_a_gpu_is_loaded_anywhere(
    trained: Method, device: Log, tiny_bop: Path, tmp_path: Path, find_role: Callable[[Method], Method]
):
    """Banks of views, batches, losses, gradients, optimisers and checkpoints are all on the device."""
    made = make_case(find_role(trained), tiny_bop, tmp_path, device="cuda")
    bundle = load_bundle(made.bundle.path)
    for role in made.method.roles:
        assert all(bool(value.isfinite().all()) for value in bundle.weights(role).values())


@pytest.fixture
def find_role() -> Callable[[Method], Method]:
    """Return a function from a method to itself with no networks but those that its own trainings make."""
    return lambda method: replace(method, roles=tuple(item.role for item in method.trainings))
