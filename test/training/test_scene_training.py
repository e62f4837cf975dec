"""The detector's recipe: learns to find toy shapes, shares encoders, freezes, resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.scenes import SceneBatch
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.mask_rcnn.detector import MaskRCNN, load
from pose_estimation_ros.methods.mask_rcnn.settings import MaskRCNNSettings
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_weights
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.training.scene_training import DetectorRecipe, Target, new_network, train_on_scenes
from pose_estimation_ros.training.trainer import OptimiserConfig

CPU = torch.device("cpu")
DETECTOR = Target("detector", 2)
WIDTH, HEIGHT = 128, 96
SMALL = {"widths": [16, 24, 32, 48], "blocks": [1, 1, 1, 1], "channels": 24, "box_hidden": 64}


def toy_scene(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Paint reddish squares (1) and bluish discs (2) on noise; later ones hide parts of earlier ones."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    image = draw(0.2, 0.8, 3, 1, 1) + 0.1 * torch.randn(3, HEIGHT, WIDTH, generator=generator)
    boxes, masks, labels = [], [], torch.randint(1, 3, (3,), generator=generator)
    for label in labels.tolist():
        radius = float(draw(9, 19, 1))
        u, v = float(draw(radius, WIDTH - radius, 1)), float(draw(radius, HEIGHT - radius, 1))
        across, down = (x - u).abs(), (y - v).abs()
        shape = torch.maximum(across, down) <= radius if label == 1 else across**2 + down**2 <= radius**2
        tint = torch.tensor([0.6, 0.0, 0.0] if label == 1 else [0.0, 0.0, 0.6])[:, None, None]
        image = torch.where(shape, draw(0.0, 0.4, 3, 1, 1) + tint, image)
        masks = [mask & ~shape for mask in masks] + [shape]
        boxes.append([u - radius, v - radius, u + radius, v + radius])
    seen = torch.tensor([int(mask.sum()) > 30 for mask in masks])
    stacked = torch.stack(masks).to(torch.uint8)
    return image.clamp(0, 1), {"boxes": torch.tensor(boxes)[seen], "labels": labels[seen], "masks": stacked[seen]}


def toy_scenes(count: int, seed: int) -> Iterator[SceneBatch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        images, targets = zip(*(toy_scene(generator) for _ in range(count)), strict=True)
        yield SceneBatch(torch.stack(images), list(targets))


def toy_bundle(path: Path) -> Bundle:
    corners = ((-0.05,) * 3, (0.05,) * 3)
    models = tuple(
        ObjectModel(i + 1, name, 0.1, corners, Path(f"{name}.ply")) for i, name in enumerate(("cube", "ball"))
    )
    return Bundle(path, path.name, Catalog(models), {}, PosePrior())


def toy_recipe(samples: int, **changes) -> DetectorRecipe:
    optimiser = OptimiserConfig(
        batch=4, learning_rate=1e-2, warmup_samples=100, weight_decay=1e-4, ema_samples=60, bf16=False
    )
    return DetectorRecipe(samples=samples, input_width=WIDTH, network=SMALL, optimiser=optimiser, **changes)


def as_frame(image: Tensor) -> Frame:
    intrinsics = np.array([[WIDTH, 0, WIDTH / 2], [0, WIDTH, HEIGHT / 2], [0, 0, 1.0]])
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return Frame(pixels, Camera(intrinsics, WIDTH, HEIGHT))


def box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    size = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None).prod()
    return size / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - size)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> MaskRCNN:
    """Train for a few seconds, write the bundle, read it back."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("toy")
    train_on_scenes(
        toy_bundle(folder), toy_recipe(600), DETECTOR, lambda seen: toy_scenes(4, seed=seen), folder / "run", CPU
    )
    return load(LoadContext(load_bundle(folder), CPU, MaskRCNNSettings()))


@pytest.mark.slow
def test_finds_shapes_it_has_never_seen(trained: MaskRCNN):
    """Whole boxes, classes and visible masks of shapes at least half visible on held-out images."""
    scenes = next(toy_scenes(24, seed=1))
    boxes, masks, false_alarms, total = [], [], 0, 0
    for image, target in zip(scenes.images, scenes.targets, strict=True):
        found = trained.detect(as_frame(image), 0.5)
        for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
            if int(mask.sum()) < 0.5 * float((box[2:] - box[:2]).prod()):
                continue
            same = [item for item in found if item.object_index == int(label) - 1]
            best = max(same, key=lambda item: box_overlap(item.box, box.numpy()), default=None)
            overlap = box_overlap(best.box, box.numpy()) if best else 0.0
            total += 1
            boxes.append(overlap)
            if best is not None and overlap > 0.5:
                both = best.mask & mask.bool().numpy()
                masks.append(both.sum() / (best.mask | mask.bool().numpy()).sum())
        false_alarms += sum(not _explained(item, target) for item in found)
    assert np.mean(np.array(boxes) > 0.7) >= 0.6
    assert np.mean(masks) > 0.65
    assert false_alarms <= 0.2 * total


def _explained(item: Detection, target: dict[str, Tensor]) -> bool:
    return any(
        int(label) - 1 == item.object_index and box_overlap(item.box, box.numpy()) > 0.4
        for box, label in zip(target["boxes"], target["labels"], strict=True)
    )


@pytest.mark.slow
def test_empty_image_gives_an_empty_list(trained: MaskRCNN):
    assert trained.detect(as_frame(torch.full((3, HEIGHT, WIDTH), 0.5)), 0.5) == []


@pytest.mark.slow
def test_same_image_gives_the_same_answer(trained: MaskRCNN):
    frame = as_frame(next(toy_scenes(1, seed=5)).images[0])
    first, second = trained.detect(frame, 0.3), trained.detect(frame, 0.3)
    assert len(first) > 0
    for one, other in zip(first, second, strict=True):
        assert one.score == other.score
        np.testing.assert_array_equal(one.box, other.box)


def bundle_with_pose_network(path: Path, widths: list[int], blocks: list[int]) -> Bundle:
    network = Pix2PoseNet(2, widths=widths, blocks=blocks, decoder=(8, 8, 8), bins=4)
    return save_weights(toy_bundle(path), "pix2pose", network.state_dict(), {}, 64, {})


def test_encoder_of_the_pose_network_is_taken_over(tmp_path: Path):
    """Its shape is read off the weights, whatever the bundle says or leaves out."""
    bundle = bundle_with_pose_network(tmp_path, [8, 8, 16, 24], [1, 3, 1, 2])
    network, architecture, _ = new_network(bundle, DetectorRecipe(network={"channels": 8, "box_hidden": 8}), DETECTOR)
    assert (architecture["widths"], architecture["blocks"]) == ([8, 8, 16, 24], [1, 3, 1, 2])
    weights = bundle.weights("pix2pose")
    for name, value in network.backbone.encoder.state_dict().items():
        torch.testing.assert_close(value, weights[f"encoder.{name}"])


def test_encoder_that_does_not_fit_is_refused(tmp_path: Path):
    bundle = bundle_with_pose_network(tmp_path, [8, 8, 16, 16], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="encoder of network pix2pose does not fit.*encoder_from: null"):
        new_network(bundle, DetectorRecipe(network=SMALL), DETECTOR)


def test_every_class_begins_as_the_one_of_the_proposals(tmp_path: Path):
    bundle = toy_bundle(tmp_path)
    whole = MaskRCNNNetwork(1, **SMALL)
    bundle = save_weights(bundle, "proposals", whole.state_dict(), {"classes": 1, **SMALL}, WIDTH, {})
    recipe = DetectorRecipe(network=SMALL, initial=str(tmp_path), initial_network="proposals")
    network, _, _ = new_network(bundle, recipe, DETECTOR)
    before, after = bundle.weights("proposals"), network.state_dict()
    for name, value in after.items():
        if value.shape == before[name].shape:
            torch.testing.assert_close(value, before[name])
    masks = after["roi_heads.mask_predictor.mask_fcn_logits.weight"]
    for row in (1, 2):
        torch.testing.assert_close(masks[row], before["roi_heads.mask_predictor.mask_fcn_logits.weight"][1])
    with pytest.raises(ValueError, match="network proposals does not fit"):
        new_network(bundle, recipe.model_copy(update={"network": {**SMALL, "channels": 8}}), DETECTOR)


def test_frozen_encoder_does_not_change(tmp_path: Path):
    bundle = bundle_with_pose_network(tmp_path, SMALL["widths"], SMALL["blocks"])
    before = bundle.weights("pix2pose")
    trained = train_on_scenes(
        bundle, toy_recipe(8, encoder_rate=0.0), DETECTOR, lambda seen: toy_scenes(4, seed=seen), tmp_path / "run", CPU
    )
    after = trained.weights("detector")
    encoder = [name for name in before if name.startswith("encoder.") and before[name].is_floating_point()]
    for name in encoder:
        torch.testing.assert_close(after[f"backbone.{name}"], before[name])
    assert len(encoder) > 10


def test_interrupted_training_goes_on(tmp_path: Path):
    """Two halves with a resume in between see as many samples as one run."""
    bundle, folder = toy_bundle(tmp_path), tmp_path / "run"

    def interrupted(first: int) -> Iterator[SceneBatch]:
        source = toy_scenes(4, seed=first)
        yield next(source)
        raise KeyboardInterrupt

    half = train_on_scenes(bundle, toy_recipe(12), DETECTOR, interrupted, folder, CPU)
    assert half.networks["detector"].training["samples"] == 4
    assert half.networks["detector"].training["finished"] is False
    firsts = []

    def resumed(first: int) -> Iterator[SceneBatch]:
        firsts.append(first)
        return toy_scenes(4, seed=first)

    whole = train_on_scenes(half, toy_recipe(12), DETECTOR, resumed, folder, CPU, resume=True)
    assert firsts == [1]  # the second batch: not the scenes already seen
    assert whole.networks["detector"].training["samples"] == 12
    assert whole.networks["detector"].training["finished"] is True
