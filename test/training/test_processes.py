"""Processes that train together do what one does with the whole batch."""

from __future__ import annotations

import os
import re
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from pose_estimation_ros.cli.adapt import main as adapt
from pose_estimation_ros.cli.train import main
from pose_estimation_ros.data.scenes import SceneBatch
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.bundle_source import BundleSource, MeshSource
from pose_estimation_ros.training import processes, trainer
from pose_estimation_ros.training.batch_stream import batch_stream
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.scene_training import DetectorRecipe, DetectorStep
from pose_estimation_ros.training.shared_batch import draw_columns, gathered, share_step, shared_count
from pose_estimation_ros.training.shared_norm import share_statistics
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun

from ..many_processes import in_processes
from ..methods.box_training import write_box
from .test_batch_stream import maker
from .test_resume import DECODER, ENCODER

BATCH, STEPS = 4, 20
COMMON: dict[str, Any] = {
    "bank": {"views": 16, "clutter": 1, "clutter_views": 2, "size": 40, "backgrounds": 2},
    # Where gradients are rounding alone, AdamW goes its full rate to either side; a small one keeps that small.
    "optimiser": {"batch": BATCH, "learning_rate": 1e-4, "warmup_samples": 16, "ema_samples": 64, "bf16": False},
    "samples": BATCH * 2 * STEPS,
    "workers": 0,
}
CORNERS = {**COMMON, "size": 32, "network": {**ENCODER, "features": 16, "channels": 8}}
NEMO = {
    **COMMON,
    "size": 64,
    "vertices": 40,
    "directions": 16,
    "network": {**DECODER, "stride": 8, "features": 8, "clutter": 80},
}


def small_loss(network: nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    """Have a bit of everything: a mean over what counts, samples compared with each other, draws."""
    torch.default_generator.manual_seed(3)
    out = network(images)
    everyone = gathered(out)
    drawn = out.gather(1, draw_columns(weights + 0.1, 2))
    counted = ((out - 1.0).abs().pow(3) * weights).sum() / shared_count(weights.sum())
    return counted + (everyone @ everyone.T).softmax(dim=1).square().mean() + drawn.square().mean()


def small_step(samples: slice) -> tuple[Tensor, nn.Module]:
    """Return loss and network after the backward pass of some of eight samples."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    network.extend([nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5)])
    frozen = nn.BatchNorm1d(5).eval()
    network.append(frozen)
    images, weights = torch.randn(8, 3, 6, 5) * 3.0 + 5.0, torch.rand(8, 5).round()
    share_statistics(network)
    loss = small_loss(network, images[samples], weights[samples])
    loss.backward()
    loss, figures = share_step(network.parameters(), loss, {"number": float(processes.number())})
    assert figures["number"] == (processes.count() - 1) / 2.0
    return loss, network


def check_small_step(expected: Tensor, one: nn.Module) -> None:
    with processes.joined("cpu"):
        share = processes.share_of(8)
        loss, network = small_step(slice(share.start, share.stop))
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        for (name, mine), whole in zip(network.named_parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, whole.grad, rtol=1e-4, atol=1e-5, msg=lambda text, at=name: at + text)
        for mine, whole in zip(network.buffers(), one.buffers(), strict=True):
            torch.testing.assert_close(mine, whole)


def test_gradients_and_statistics_are_those_of_the_whole_batch() -> None:
    loss, one = small_step(slice(0, 8))
    in_processes(2, check_small_step, loss.detach(), one)


def region_figures(samples: slice) -> dict[str, Tensor]:
    """Return the losses of a detector that trains on all of its regions; images have different numbers of them."""
    torch.manual_seed(0)
    network = MaskRCNNNetwork(
        2, widths=[8] * 4, blocks=[1] * 4, channels=8, box_hidden=16, proposals_train=(64, 32), box_samples=1000
    )
    share_statistics(network)
    images, targets = torch.rand(4, 3, 64, 96), []
    for count in (1, 4, 2, 1):
        corner = torch.rand(count, 2) * 30.0
        masks = torch.ones(count, 64, 96, dtype=torch.uint8)
        boxes = torch.cat([corner, corner + 20.0], dim=1)
        targets.append({"boxes": boxes, "labels": torch.ones(count, dtype=torch.int64), "masks": masks})
    step = DetectorStep(DetectorRecipe(optimiser=OptimiserConfig(bf16=False)), torch.device("cpu"))
    loss, figures = step(network, SceneBatch(images[samples], targets[samples]))
    return dict(share_step([], loss, figures)[1])


def check_regions(expected: dict[str, Tensor]) -> None:
    with processes.joined("cpu"):
        share = processes.share_of(4)
        figures = region_figures(slice(share.start, share.stop))
    for name in ("classifier", "box_reg", "mask"):  # anchors are drawn by each process
        torch.testing.assert_close(figures[name], expected[name], rtol=1e-4, atol=1e-5)


def test_regions_weigh_the_same_in_whichever_process_they_are() -> None:
    in_processes(2, check_regions, region_figures(slice(0, 4)))


def train(folder: Path, network: str, recipe: dict[str, Any], until: int, resume: bool = False) -> None:
    training = find_training(network)
    run = TrainingRun(load_bundle(folder / "bundle"), folder / "run", None, "cpu", resume, Pause(BATCH * until))
    training.function()(run, training.recipe_model().model_validate(recipe))


def train_together(*arguments: Any) -> None:
    with processes.joined("cpu"):
        train(*arguments)


@pytest.mark.parametrize(("network", "recipe"), [("corners", CORNERS), ("nemo", NEMO)])
def test_two_processes_train_as_one_and_one_goes_on(network: str, recipe: dict[str, Any], tmp_path: Path) -> None:
    """Equal losses over twenty steps, the last of them by one process from the checkpoint of two."""
    write_box(tmp_path / "box.ply")
    for name in ("one", "two"):
        BundleSource(meshes=MeshSource(mesh=(tmp_path / "box.ply",), unit="mm")).make(tmp_path / name / "bundle")
    train(tmp_path / "one", network, recipe, STEPS)
    in_processes(2, train_together, tmp_path / "two", network, recipe, STEPS - 4)
    train(tmp_path / "two", network, recipe, STEPS, True)
    one, two = (torch.load(tmp_path / name / "run" / "checkpoint.pt", weights_only=True) for name in ("one", "two"))
    assert one["samples"] == two["samples"] == BATCH * STEPS and len(one["figures"]["loss"]) == STEPS
    assert max(one["figures"]["loss"]) > 1.01 * min(one["figures"]["loss"])  # it learns
    torch.testing.assert_close(two["figures"]["loss"], one["figures"]["loss"], rtol=1e-5, atol=1e-5)
    for key, value in one["average"].items():
        torch.testing.assert_close(two["average"][key], value, rtol=1e-3, atol=1e-4)


def run_command(arguments: list[str], output: Path, stopped_at: int | None) -> None:
    """Run pose_train, and send SIGTERM to the second process alone in one of its steps."""
    seed_step = trainer.seed_step

    def seed_or_stop(seed: int, number: int, device: torch.device) -> None:
        seed_step(seed, number, device)
        if number == stopped_at and processes.number() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.seed_step = seed_or_stop
    with (output / f"{os.environ['RANK']}.txt").open("w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        print(f"exit code {main(arguments)}")


def test_the_command_writes_once_stops_together_and_goes_on(tmp_path: Path) -> None:
    write_box(tmp_path / "box.ply")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**CORNERS, "samples": BATCH * 8}))
    arguments = ["--bundle", tmp_path / "models" / "box", "--network", "corners", "--work-dir", tmp_path / "work"]
    arguments = [str(item) for item in [*arguments, "--config", tmp_path / "recipe.yaml"]]
    meshes = ["--mesh", str(tmp_path / "box.ply"), "--unit", "mm"]

    in_processes(2, run_command, [*arguments, *meshes, "--set", "optimiser.batch=3"], tmp_path, None)
    for number in (0, 1):
        said = (tmp_path / f"{number}.txt").read_text()
        assert re.search(r"optimiser\.batch = 3: .* all 2 processes .* multiple of 2", said) and "code 2" in said
    assert not (tmp_path / "models" / "box").exists()

    in_processes(2, run_command, [*arguments, *meshes], tmp_path, 4)
    first, second = ((tmp_path / f"{number}.txt").read_text() for number in (0, 1))
    assert f"{BATCH * 5} images seen, interrupted" in first and second == "exit code 0\n"
    in_processes(2, run_command, [*arguments, "--resume"], tmp_path, None)
    assert load_bundle(tmp_path / "models" / "box").network("corners").training["finished"]


@pytest.mark.parametrize(("batch", "count"), [(40, 1), (40, 2), (40, 4), (96, 3)])
def test_shares_of_a_batch_are_together_the_batch(batch: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = next(batch_stream(maker, 3, 5, batch, 0))
    monkeypatch.setattr(processes, "count", lambda: count)
    parts = []
    for number in range(count):
        monkeypatch.setattr(processes, "number", lambda number=number: number)
        parts.append(next(batch_stream(maker, 3, 5, batch, 0)))
    assert torch.equal(torch.cat([part.values for part in parts]), whole.values)
    assert {len(part.names) for part in parts} == {batch // count}


def test_commands_that_are_made_for_one_process_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert adapt(["--bundle", "demo", "--photos", "nowhere"]) == 2
    assert re.search("2 processes .* pose_adapt is made for one", capsys.readouterr().err)


def test_a_process_gets_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ValueError, match=r"process 2 of this machine has no GPU: PyTorch sees 1; .* --nproc-per-node 1"
    ):
        processes.joined("auto").__enter__()
    with pytest.raises(ValueError, match="cuda:0.* takes its own GPU"):
        processes.joined("cuda:0").__enter__()
