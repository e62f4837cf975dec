"""What photographs bring, and how many it takes: no photographs, plain fine-tuning, feature mapping, both.

    python benchmarks/adaptation.py --bundle models/lmo --bop ../shared/data/lmo --backends corners pix2pose

Adapts with 5, 15, 30 and 45 of the first 45 photographs, spread evenly, and evaluates on the last 15, which are of
another time of the same sequence. `fine-tuning` trains on photographs without a mapping, `mapping` only brings features
of photographs and renderings together, `both` is what `pose_adapt` does by default. Every training has three seeds.
What is finished lies in the working folder and is not made again; weights and options have to be the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.cli import adapt, evaluate
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import load_bundle

TRAININGS = {
    "fine-tuning": ("mapping=false",),
    "mapping": ("weights.real=0",),
    "both": (),
}
NOTHING = "no photographs"
PHOTOGRAPHS, TESTED = "0:45", "45:60"


def main() -> None:
    """Run the benchmark, print a table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True, help="with networks of all the backends")
    parser.add_argument("--bop", type=Path, required=True, help="the photographs")
    parser.add_argument("--backends", nargs="+", default=["corners", "pix2pose"])
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 15, 30, 45], help="photographs adapted with")
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=20_000, help="of every adaptation")
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="as of pose_adapt")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation"), help="working folder")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/adaptation.png"))
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/adaptation.py")
    rows = Rows()
    for backend in arguments.backends:
        _refuse_other_runs(arguments, backend)
        first = _evaluated(arguments, arguments.bundle, backend, f"{backend}_none")
        rows.add(backend=backend, training=NOTHING, photographs=0, **_mean([first]))
        for count, training in product(arguments.counts, arguments.trainings):
            runs = [_run(arguments, backend, count, training, seed) for seed in arguments.seeds]
            rows.add(backend=backend, training=training, photographs=count, **_mean(runs))
    _draw(arguments.plot, rows)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


def _refuse_other_runs(arguments: argparse.Namespace, backend: str) -> None:
    """Write down what the trainings of a backend begin with; end where those of the working folder began otherwise."""
    weights = load_bundle(arguments.bundle).network(backend).sha256
    begun_with = {
        "weights": weights,
        "photographs": str(arguments.bop),
        "samples": arguments.samples,
        "set": arguments.assignments,
    }
    file = arguments.out / f"{backend}_begun_with.json"
    if not file.is_file() and not any(arguments.out.glob(f"{backend}_*.json")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(begun_with))
    elif not file.is_file() or json.loads(file.read_text()) != begun_with:
        raise SystemExit(f"{file}: trainings of other weights or options; choose another --out or remove the folder")


def _run(arguments: argparse.Namespace, backend: str, count: int, training: str, seed: int) -> dict[str, Any]:
    """Adapt a copy of the bundle and return what it is worth."""
    name = f"{backend}_{count}_{training}_{seed}"
    if (arguments.out / f"{name}.json").is_file():
        return json.loads((arguments.out / f"{name}.json").read_text())["figures"]
    bundle, work = arguments.out / name, arguments.out / "work"
    (work / "pix2pose").mkdir(parents=True, exist_ok=True)  # where trainings beside it share their bank of views
    shutil.rmtree(bundle, ignore_errors=True)  # of a run that was interrupted
    keys = [*TRAININGS[training], f"seed={seed}", f"samples={arguments.samples}", "bank.seed=0", *arguments.assignments]
    options = ["--bundle", arguments.bundle, "--photos", arguments.bop, "--backend", backend, "--out", bundle]
    options += ["--image-range", PHOTOGRAPHS, "--images", count, "--work-dir", work / name]
    _checked(adapt.main([str(item) for item in options] + [word for key in keys for word in ("--set", key)]), name)
    if not load_bundle(bundle).network(backend).training["adaptation"]["finished"]:
        raise SystemExit(f"{name}: interrupted")
    figures = _evaluated(arguments, bundle, backend, name)
    shutil.rmtree(bundle)
    shutil.rmtree(work / name)
    return figures


def _evaluated(arguments: argparse.Namespace, bundle: str | Path, backend: str, name: str) -> dict[str, Any]:
    file = arguments.out / f"{name}.json"
    if not file.is_file():
        options = ["--bundle", bundle, "--bop", arguments.bop, "--backend", backend, "--refiner", "none"]
        options += ["--detections", "gt", "--no-vsd", "--image-range", TESTED, "--result", file]
        _checked(evaluate.main([str(item) for item in options]), name)
    return json.loads(file.read_text())["figures"]


def _checked(code: int, name: str) -> None:
    if code != 0:
        raise SystemExit(f"{name}: ended with code {code}")


def _mean(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean over seeds, and the least and the greatest AR."""
    ar = [run["all"]["ar"] for run in runs]
    return {
        "add_s_0_1d": float(np.mean([run["mean"]["add_s_0_1d"] for run in runs])),
        "ar": float(np.mean(ar)),
        "ar_min": float(min(ar)),
        "ar_max": float(max(ar)),
    }


def _draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw AR over the number of photographs, a picture for every backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    backends = list(dict.fromkeys(row["backend"] for row in rows))
    figure = Figure(figsize=(5 * len(backends), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, backend in zip(np.ravel(figure.subplots(1, len(backends))), backends, strict=True):
        own = [row for row in rows if row["backend"] == backend]
        axis.axhline(own[0]["ar"], color="grey", linestyle=":", label=NOTHING)
        for training in dict.fromkeys(row["training"] for row in own[1:]):
            line = [row for row in own if row["training"] == training]
            counts = [row["photographs"] for row in line]
            axis.plot(counts, [row["ar"] for row in line], marker="o", label=training)
            axis.fill_between(counts, *([row[key] for row in line] for key in ("ar_min", "ar_max")), alpha=0.15)
        axis.set(title=backend, xlabel="photographs", ylabel="AR")
        axis.grid(alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
