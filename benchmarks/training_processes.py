"""Measure what several processes win: samples a second of N with one thread each against one with N threads.

    python benchmarks/training_processes.py [--processes 2] [--rounds 2] [--batches 48 128]

Trains a network of the bundle demo from nothing, in a folder that is thrown away, with the same batches shared among
the processes. Rounds of the two take turns; the ratio of every round is theirs, so that what else the machine does
counts on both sides. Each process makes its own crops, and takes the step of the optimiser and the exchange as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import tempfile
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import find_bundle, load_bundle
from pose_estimation_ros.training import processes
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.trainer import TrainingRun

_WARM_UP = 3  # steps before the clock starts


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="of every round")
    parser.add_argument("--batches", type=int, nargs="+", default=[48, 128], help="of all processes together")
    parser.add_argument("--size", type=int, default=96, help="side of the crops, pixels")
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/training_processes.py")
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # imports for seconds: here, not in every process
    rows = Rows()
    for batch, number in product(arguments.batches, range(1, arguments.rounds + 1)):
        arguments.batch = batch
        with tempfile.TemporaryDirectory() as folder:
            one, many = (_samples_a_second(Path(folder), arguments, count) for count in (1, arguments.processes))
        rows.add(batch=batch, round=number, one_process=one, processes=many, ratio=many / one)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


def _samples_a_second(folder: Path, arguments: argparse.Namespace, count: int) -> float:
    """Train in so many processes, with as many threads in all, and return what they are worth together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("fork")
    queue: Any = context.SimpleQueue()
    children = [
        context.Process(target=_train, args=(folder, arguments, rank, count, port, queue)) for rank in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError("a training failed; its error is above")
    return queue.get()


def _train(folder: Path, arguments: argparse.Namespace, rank: int, count: int, port: int, queue: Any) -> None:
    torch.set_num_threads(arguments.processes // count)
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in told.items()}, MASTER_ADDR="127.0.0.1")
    with processes.joined("cpu"):
        bundle = folder / "demo"
        if processes.is_first() and not bundle.exists():
            shutil.copytree(find_bundle("demo"), bundle)
        processes.wait()
        training = find_training("pix2pose")
        recipe = training.recipe_model().model_validate(_recipe(arguments))
        seconds = []  # in the loop, without what comes before it
        for steps, resume in ((_WARM_UP, False), (_WARM_UP + arguments.steps, True)):
            pause = Pause(arguments.batch * steps)
            training.function()(TrainingRun(load_bundle(bundle), folder / "run", None, "cpu", resume, pause), recipe)
            processes.wait()
            seconds.append(torch.load(folder / "run" / "checkpoint.pt", weights_only=True)["seconds"])
        if processes.is_first():
            queue.put(arguments.batch * arguments.steps / (seconds[1] - seconds[0]))


def _recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "stages": [{"size": arguments.size, "samples": 1_000_000}],
        "bank": {"views": 100, "clutter": 4, "clutter_views": 8, "backgrounds": 20},
        "optimiser": {"batch": arguments.batch, "kind": arguments.optimiser},
        "workers": 0,
    }


if __name__ == "__main__":
    main()
