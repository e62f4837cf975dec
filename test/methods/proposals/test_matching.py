"""Names go to the objects that look like it, whatever hides a part, and to none where nothing does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.proposals.detector import MeshShapes, Proposals
from pose_estimation_ros.methods.proposals.matching import Matcher, name_probabilities
from pose_estimation_ros.methods.proposals.settings import ProposalsSettings
from pose_estimation_ros.methods.segmentation import Segment, Segmenter
from pose_estimation_ros.methods.view_table import FeatureSpace
from pose_estimation_ros.methods.view_tables import ViewTables
from pose_estimation_ros.networks.descriptor_net import DescriptorNet
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.rendering.shading import headlight

CPU = torch.device("cpu")
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)
SETTINGS = ProposalsSettings(directions=60, roll_step_deg=45.0)


class FixedSegmenter(Segmenter):
    """Proposes the same in every image."""

    def __init__(self, found: list[Segment]) -> None:
        self.found, self.device = found, CPU

    def segment(self, rgb: np.ndarray, score_threshold: float) -> list[Segment]:
        return [item for item in self.found if item.score >= score_threshold]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("demo")


@pytest.fixture(scope="module")
def shapes(bundle: Bundle) -> MeshShapes:
    return MeshShapes.load(bundle, None, CPU)


@pytest.fixture(scope="module")
def matcher(bundle: Bundle, shapes: MeshShapes) -> Matcher:
    network = load_bundle("generic").load_network("descriptors", lambda _, **shape: DescriptorNet(**shape), CPU)
    space = FeatureSpace.whole(network.out.out_channels, CPU)
    tables = ViewTables(shapes, bundle.catalog, bundle.pose_prior, SETTINGS, network, space)
    return Matcher(network, [tables[index] for index in range(len(tables))], SETTINGS)


def photographed(bundle: Bundle, shapes: MeshShapes, index: int) -> tuple[Frame, Segment]:
    """Return an image of one object seen from above, and where it is."""
    turn = Rotation.from_euler("zx", [25.0, 125.0], degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = np.array([0.05, -0.04, 0.55]) - turn @ bundle.catalog[index].centre_m
    intrinsics = torch.from_numpy(CAMERA.intrinsics).float()[None]
    renders = shapes.caster.render(torch.tensor([index]), torch.from_numpy(pose).float()[None], intrinsics, 480, 640)
    mask = renders.mask[:, None].float()
    image = headlight(renders.colors, renders.normals[:, 2:]) * mask + 0.6 * (1.0 - mask)
    rgb = (image[0].permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
    seen = renders.mask[0].numpy().astype(bool)
    rows, columns = np.nonzero(seen)
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()], dtype=np.float64)
    return Frame(rgb, CAMERA), Segment(0, 0.9, box, seen)


def similarity(matcher: Matcher, frame: Frame, segment: Segment) -> np.ndarray:
    image = torch.from_numpy(frame.rgb).permute(2, 0, 1).float() / 255.0
    with torch.inference_mode():
        return matcher.similarity(image, torch.from_numpy(CAMERA.intrinsics).float(), [segment])[0].numpy()


@pytest.mark.parametrize("index", range(5))
def test_an_object_is_most_like_its_own_views(bundle: Bundle, shapes: MeshShapes, matcher: Matcher, index: int):
    found = similarity(matcher, *photographed(bundle, shapes, index))
    assert found.argmax() == index
    assert SETTINGS.sharpness * (found[index] - np.delete(found, index).max()) > np.log(3.0)  # of the odds


def test_what_hides_a_part_costs_little_where_the_mask_leaves_it_out(
    bundle: Bundle, shapes: MeshShapes, matcher: Matcher
):
    frame, whole = photographed(bundle, shapes, 4)
    middle = int(whole.box[[0, 2]].mean())
    covered = frame.rgb.copy()
    covered[:, middle:] = np.random.default_rng(0).integers(0, 256, covered[:, middle:].shape)
    visible = whole.mask.copy()
    visible[:, middle:] = False
    free = matcher.settings.model_copy(update={"outline_weight": 0.0})
    plain = Matcher(matcher.encode, [views.table for views in matcher.views], free)
    seen, told, fooled = (
        similarity(plain, Frame(rgb, CAMERA), Segment(0, 0.9, whole.box, mask))[4]
        for rgb, mask in ((frame.rgb, whole.mask), (covered, visible), (covered, whole.mask))
    )
    assert abs(told - seen) < 0.1
    assert fooled < told - 0.15


def test_names_go_to_what_is_alike_and_noise_has_none(bundle: Bundle, shapes: MeshShapes, matcher: Matcher):
    frame, segment = photographed(bundle, shapes, 0)
    detector = Proposals(FixedSegmenter([segment]), matcher, SETTINGS)
    first, *others = detector.detect(frame, 0.01)
    assert first.object_index == 0 and first.score > 0.6
    assert first.score + sum(item.score for item in others) <= 1.0 and len(others) < SETTINGS.max_names
    np.testing.assert_array_equal(first.box, segment.box)
    noise = Frame(np.random.default_rng(0).integers(0, 256, frame.rgb.shape, dtype=np.uint8), CAMERA)
    assert detector.detect(noise, 0.3) == []


def test_things_that_are_hardly_objects_are_not_looked_at(bundle: Bundle, shapes: MeshShapes, matcher: Matcher):
    frame, segment = photographed(bundle, shapes, 0)
    detector = Proposals(FixedSegmenter([segment]), matcher, SETTINGS.model_copy(update={"min_objectness": 0.95}))
    assert detector.detect(frame, 0.0) == []


@given(
    similarity=st.lists(st.floats(-1.0, 1.3), min_size=1, max_size=6), objectness=st.floats(0.0, 1.0),
    sharpness=st.floats(0.1, 200.0),
)  # fmt: skip
def test_chances_of_all_names_leave_room_for_none(similarity: list[float], objectness: float, sharpness: float):
    settings = SETTINGS.model_copy(update={"sharpness": sharpness})
    (chances,) = name_probabilities(np.array([similarity]), np.array([objectness]), settings)
    assert (chances >= 0.0).all() and chances.sum() <= 1.0 + 1e-12
    order = np.argsort(similarity)
    assert (np.diff(chances[order]) >= 0.0).all()


def test_chances_are_those_of_the_model():
    settings = ProposalsSettings(sharpness=10.0, rejected_similarity=0.4, objectness_weight=0.5)
    at_the_border = name_probabilities(np.array([[0.4], [0.5]]), np.array([0.5, 0.5]), settings)
    np.testing.assert_allclose(at_the_border[:, 0], [0.5, np.e / (1.0 + np.e)])
    two = name_probabilities(np.array([[0.4, 0.4]]), np.array([0.5]), settings)
    np.testing.assert_allclose(two, [[1.0 / 3.0, 1.0 / 3.0]])
    sure = name_probabilities(np.array([[0.4]]), np.array([0.8]), settings)  # odds of 4, by the square root
    np.testing.assert_allclose(sure, [[2.0 / 3.0]])


def test_an_object_that_is_not_looked_for_takes_nothing_from_one_that_is(
    bundle: Bundle, shapes: MeshShapes, matcher: Matcher
):
    frame, segment = photographed(bundle, shapes, 0)
    detector = Proposals(FixedSegmenter([segment]), matcher, SETTINGS)
    among_all = {item.object_index: item.score for item in detector.detect(frame, 0.0)}
    for index in range(len(matcher.views)):
        alone = detector.detect(frame, 0.0, {index})
        assert [item.object_index for item in alone] == [index]
        assert alone[0].score >= among_all.get(index, 0.0)
