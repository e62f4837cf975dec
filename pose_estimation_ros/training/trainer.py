"""The training loop that every recipe shares: schedule, average of the weights, checkpoints, log, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_weights
from pose_estimation_ros.training import processes
from pose_estimation_ros.training.checkpoint import read_checkpoint, write_checkpoint
from pose_estimation_ros.training.optimisers import make_optimisers
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.progress import training_bar
from pose_estimation_ros.training.reproducibility import deterministic_sums, seed_step
from pose_estimation_ros.training.shared_batch import share_step
from pose_estimation_ros.training.shared_norm import share_statistics
from pose_estimation_ros.training.step_figures import StepFigures, refuse_infinite
from pose_estimation_ros.training.stop_signals import StopSignals
from pose_estimation_ros.training.weight_average import WeightAverage

_LOG_EVERY = 50  # steps that a line of the log is the mean of


@dataclass(frozen=True)
class TrainingRun:
    """What a training adds to, and where it works. All recipes take one and return the bundle with the new weights.

    The weights are those of an interrupted or a finished training, whichever it was.
    """

    bundle: Bundle  # objects and pose prior; the weights are added to it
    folder: Path  # checkpoints and log; the bank of views is shared with `pix2pose` beside it
    mesh_dir: Path | None = None  # where the meshes are that the bundle does not ship
    device: str = "cpu"  # cpu or cuda
    resume: bool = False  # go on from the last checkpoint
    pause: Pause | None = None  # stop there, to go on later


class OptimiserConfig(BaseModel):
    """AdamW or Muon with warm-up and cosine decay over all samples of the recipe."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["adamw", "muon"] = "adamw"  # muon: for the kernels of convolutions, AdamW for the rest
    batch: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warmup_samples: int = 10_000
    weight_decay: float = 0.02
    gradient_norm: float = 5.0  # gradients longer than this are shortened
    ema_samples: int = 30_000  # the average of the weights forgets over so many samples
    checkpoint_minutes: float = 3.0
    snapshot_samples: int = 50_000  # keep the averaged weights every so many samples, for the scaling curve
    bf16: bool = True  # in bfloat16 where the hardware, or POSE_PRECISION, says so; false: never


class Trainer:
    """Trains one network and can stop and go on at any time, on a CPU to the last bit as if it had never stopped.

    What a step draws comes from torch's default generators, which are seeded for every step; what it remembers is in
    the network. Where `processes` share a training, each has its part of every batch, all have the same network, and
    the first one writes.

    Args:
        network: the network, on its device.
        config: the optimiser's settings.
        total_samples: length of the schedule.
        folder: where checkpoint.pt and log.jsonl go.
        resume: go on from the folder's checkpoint if there is one.
        rate_factors: factors on the learning rate by prefix of the parameter's name; 0 freezes.
        recipe: kept in the checkpoint, so that none goes on with another one; only its length and `workers` may change.
            Checkpoints of trainings without a recipe go on with any.
        seed: of what the steps draw.
        pause: where to stop, to go on later.

    Attributes:
        samples: seen so far.
        steps: taken so far, which is the number of the next batch.

    Raises:
        ValueError: if the checkpoint is of another network, another recipe or another version.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimiserConfig,
        total_samples: int,
        folder: Path,
        resume: bool = False,
        rate_factors: dict[str, float] | None = None,
        recipe: BaseModel | None = None,
        seed: int = 0,
        pause: Pause | None = None,
    ) -> None:
        self.network = network
        self.device = next(network.parameters()).device
        self.config = config
        self.total_samples = total_samples
        self.recipe = recipe.model_dump(mode="json") if recipe is not None else None
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.seed = seed
        self.pause = pause
        self.samples = self.steps = 0
        self.seconds = 0.0
        self.optimisers = make_optimisers(
            network, config.kind, config.learning_rate, config.weight_decay, rate_factors or {}
        )
        self.average = WeightAverage(network, config.ema_samples)
        self._stage = ""
        self._half_a_step = False
        self._figures = StepFigures(self.device)
        checkpoint = self.folder / "checkpoint.pt"
        if resume and checkpoint.is_file():
            self._load(checkpoint)
        elif not resume and processes.is_first():
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            if processes.count() > 1:  # else one that torchrun restarts early would go on with the training before
                checkpoint.unlink(missing_ok=True)
        self._share()

    def train(
        self,
        batches: Iterator[Any],
        step: Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, float | Tensor]]],
        until_samples: int,
        description: str,
    ) -> bool:
        """Train until so many samples have been seen.

        Args:
            batches: yields batches with a length, the first of them number `steps`.
            step: returns the loss of a batch and the figures to log.
            until_samples: when to stop.
            description: shown beside the progress bar.

        Returns:
            False if the user interrupted, or the pause came first; the checkpoint is written either way.

        Raises:
            FloatingPointError: if the loss is not finite; the last checkpoint stays.
            KeyboardInterrupt: if a step was cut short, as by a second Ctrl-C; the last checkpoint stays.
        """
        self._stage = description
        end = until_samples if self.pause is None else min(until_samples, self.pause.at_samples)
        saved = started = time.monotonic()
        bar = training_bar(until_samples, self.samples, description)
        with bar, StopSignals() as stop, deterministic_sums(self.device):
            try:
                while self.samples < end and not processes.any_of(stop.received):
                    bar.update(self._step(next(batches), step))
                    now = self.seconds + time.monotonic() - started
                    if self._figures.steps >= _LOG_EVERY:
                        bar.set_postfix(self._log(now), refresh=False)
                    if time.monotonic() - saved > self.config.checkpoint_minutes * 60.0:
                        self.save(now)
                        saved = time.monotonic()
            except (KeyboardInterrupt, RuntimeError) as error:
                # Processes that make batches and were told to stop as well end the stream with an error.
                stop.received |= isinstance(error, KeyboardInterrupt)
                if not stop.received:
                    raise
                # Nothing to go on from, or not where the other processes are.
                if self._half_a_step or processes.count() > 1:
                    raise KeyboardInterrupt from error
        stopped = processes.any_of(stop.received)
        self.seconds += time.monotonic() - started
        if self.samples >= until_samples:
            self._figures.check(self.samples)
            self._figures.clear()
        self.save(self.seconds)
        if self.pause is not None:
            self.pause.reached = self.samples >= self.pause.at_samples and not stopped
        return self.samples >= until_samples and not stopped

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the averaged weights, the ones to ship."""
        return self.average.state(self.network)

    def save_weights(
        self, bundle: Bundle, role: str, architecture: dict[str, Any], input_size: int, training: dict[str, Any]
    ) -> Bundle:
        """Write the averaged weights into a bundle; see the function of that name."""
        state = self.averaged_state()
        return processes.made_by_first(
            lambda: save_weights(bundle, role, state, architecture, input_size, training),
            lambda: load_bundle(bundle.path),
        )

    def record(
        self, recipe: BaseModel, finished: bool, public_weights: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return what a bundle says of how a network was trained.

        Args:
            recipe: that it followed.
            finished: whether it saw all its samples.
            public_weights: from which the encoder started, with their source and licence, if from any.
        """
        return {
            "recipe": recipe.model_dump(mode="json"),
            "samples": self.samples,
            "seconds": round(self.seconds),
            "finished": finished,
            "images": "synthetic only, rendered from the meshes",
            **({"public_weights": dict(public_weights)} if public_weights else {}),
        }

    def save(self, seconds: float) -> None:
        """Write the checkpoint; the old one stays until the new one is complete, and if the loss was not finite."""
        self._figures.check(self.samples)
        if not processes.is_first():
            return
        content = {
            "network": self.network.state_dict(),
            "average": self.average.values,
            "optimisers": [item.state_dict() for item in self.optimisers],
            "samples": self.samples,
            "steps": self.steps,
            "figures": self._figures.values,
            "seconds": seconds,
            "recipe": self.recipe,
        }
        write_checkpoint(self.folder / "checkpoint.pt", content)

    def _snapshot(self) -> None:
        from safetensors.torch import save_file

        self._figures.check(self.samples)
        if not processes.is_first():
            return
        file = self.folder / "snapshots" / f"{self.samples:09d}.safetensors"
        file.parent.mkdir(exist_ok=True)
        state = self.averaged_state()
        half = {key: value.cpu().half().contiguous() for key, value in state.items() if value.is_floating_point()}
        save_file(half, file, metadata={"stage": self._stage})

    def _load(self, path: Path) -> None:
        content = read_checkpoint(path, self.recipe, self.device)
        try:
            self.network.load_state_dict(content["network"])
            for item, state in zip(self.optimisers, content["optimisers"], strict=True):
                item.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{path}: made with another network; start over without --resume, or take its recipe ({reason})"
            ) from error
        self.average.values, self._figures.values = content["average"], content["figures"]
        self.samples, self.steps, self.seconds = (content[key] for key in ("samples", "steps", "seconds"))
        if processes.is_first():
            self._forget_log()

    def _share(self) -> None:
        """Begin with the weights of the first process; on other processors the last bits of random ones may differ."""
        if processes.count() > 1:
            self.network.load_state_dict(processes.from_first(_on_host(self.network.state_dict())))
            average = processes.from_first(_on_host(self.average.values))
            self.average.values = {key: value.to(self.device) for key, value in average.items()}
            share_statistics(self.network)

    def _forget_log(self) -> None:
        """Drop what was logged after the checkpoint, by a training that was killed: it is about to be logged again."""
        file = self.folder / "log.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
        file.write_text("".join(line for line in lines if json.loads(line)["samples"] <= self.samples))

    def _step(self, batch: Any, step: Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, float | Tensor]]]) -> int:
        """Take a step and return how many samples it saw."""
        self._half_a_step = True
        config, rate = self.config, self._rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
        seed_step(self.seed, self.steps, self.device)
        loss, values = step(self.network, batch)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        loss, values = share_step(self.network.parameters(), loss, values)
        if self.device.type == "cpu":
            refuse_infinite(float(loss.detach()), self.samples)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_norm)
        for optimiser in self.optimisers:
            optimiser.step()
        count = len(batch) * processes.count()
        before, self.samples = self.samples, self.samples + count
        self.steps += 1
        self.average.update(self.network, count, self.samples)
        self._figures.add(loss, values)
        self._half_a_step = False
        if before // config.snapshot_samples != self.samples // config.snapshot_samples:
            self._snapshot()
        return count

    def _rate(self) -> float:
        config = self.config
        if self.samples < config.warmup_samples:
            return config.learning_rate * (self.samples + config.batch) / config.warmup_samples
        done = min(1.0, (self.samples - config.warmup_samples) / max(1, self.total_samples - config.warmup_samples))
        share = 0.5 * (1.0 + math.cos(math.pi * done))
        return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * share

    def _log(self, seconds: float) -> dict[str, str]:
        """Write a line of the log; return its figures as text."""
        self._figures.check(self.samples)
        means = self._figures.means()
        self._figures.clear()
        said = {key: f"{value:.3f}" for key, value in means.items()}
        if not processes.is_first():
            return said
        entry = {"stage": self._stage, "samples": self.samples, "seconds": round(seconds, 1), "rate": self._rate()}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({**entry, **{key: round(value, 5) for key, value in means.items()}}) + "\n")
        return said


def _on_host(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu() for key, value in state.items()}
