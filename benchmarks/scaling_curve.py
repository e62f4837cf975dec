r"""Measure what more training buys: accuracy on a BOP data set against crops seen.

    python benchmarks/scaling_curve.py --bundle models/lmo --bop ../shared/data/lmo \\
        --snapshots runs/lmo/pix2pose/snapshots --plot docs/images/scaling_lmo.png

Evaluates every snapshot that pose_train left, with ground-truth boxes, and draws the curve. A training that started
from trained weights goes on with the curve of theirs: --continues RESULT.json --seen CROPS.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open

from pose_estimation_ros.cli.evaluate import main as pose_evaluate
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_weights

FIGURES = ("add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd")


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--snapshots", type=Path, required=True, help="folder of SAMPLES.safetensors files")
    parser.add_argument("--network", default="pix2pose")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    parser.add_argument("--continues", type=Path, help="result file of the weights that the training started from")
    parser.add_argument("--seen", type=int, default=0, help="crops that those weights had seen")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/scaling_curve.py")
    bundle = load_bundle(arguments.bundle)
    before = json.loads(arguments.continues.read_text())["figures"]["rows"] if arguments.continues else []
    rows = Rows()
    for row in before:
        if row["samples"] <= arguments.seen:
            rows.add(**row)
    for file in sorted(arguments.snapshots.glob("*.safetensors")):
        rows.add(samples=arguments.seen + int(file.stem), **_evaluate(bundle, file, arguments))
    if not rows:
        print(f"{arguments.snapshots}: no snapshots", file=sys.stderr)
        return 2
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})
    if arguments.plot:
        _plot(rows, arguments.plot)
    return 0


def _evaluate(bundle: Bundle, file: Path, arguments: argparse.Namespace) -> dict[str, float]:
    entry = bundle.network(arguments.network)
    with tempfile.TemporaryDirectory() as folder:
        copy = replace(bundle, path=Path(folder) / "bundle")
        with safe_open(file, "pt") as content:
            state = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 -- not a mapping
            size = int(content.metadata()["stage"].split()[-2])  # "pix2pose 96 px": measured as it was trained
        save_weights(copy, arguments.network, state, entry.architecture, size, {})
        report = Path(folder) / "report.json"
        command = ["--bundle", str(copy.path), "--bop", str(arguments.bop), "--backend", arguments.network]
        with contextlib.redirect_stdout(io.StringIO()):
            status = pose_evaluate([*command, "--detections", "gt", "--report", str(report)])
        if status != 0:
            raise SystemExit(status)
        mean = json.loads(report.read_text())["mean"]
    return {key: mean[key] for key in FIGURES}


def _plot(rows: Rows, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, 4))
    for key in FIGURES:
        axes.plot([row["samples"] for row in rows], [100.0 * row[key] for row in rows], marker="o", label=key)
    axes.set_xlabel("training crops seen")
    axes.set_ylabel("%")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
