"""What a bundle of more objects costs: time of detector and pose network, size of their weights, memory.

    python benchmarks/growing_bundle.py [--objects 8 30 100]

Makes bundles of made-up objects whose networks, as large as those of real ones, have hardly been trained, and runs
pose_benchmark on each, in a process of its own, with eight boxes in an image of noise: how long networks take and how
much memory does not depend on what they have learned. They find next to nothing, so that PnP has little to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.mesh_writing import write_mesh

BOXES = 8
_SEED = 5
_MEGABYTE = 1e6
_BANK = "bank={views: 2, clutter: 1, clutter_views: 2, backgrounds: 2, occlusion_rays: 2}"
_RECIPES = {  # as short as they can be, of networks as they are shipped
    "pix2pose": ["stages=[{size: 96, samples: 8}]", "network={encoder: lite0}", "optimiser={batch: 8}"],
    "detector": [
        "samples=2",
        "input_width=640",
        "network={encoder: lite0, anchor_sizes: [24, 48, 96, 192]}",
        "optimiser={batch: 2}",
        "encoder_from=null",
    ],
}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[8, 30, 100], help="of the bundles")
    parser.add_argument("--frames", type=int, default=20, help="frames to measure")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/growing_bundle.py")
    rows = Rows()
    with tempfile.TemporaryDirectory() as scratch:
        for count in arguments.objects:
            bundle = _made(Path(scratch), count)
            rows.add(objects=count, **_measured(bundle, arguments.frames))
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows}, _SEED)


def _made(folder: Path, count: int) -> Path:
    """Make a bundle of so many made-up objects."""
    bundle, meshes = folder / f"of_{count}", []
    for number, mesh in enumerate(clutter_meshes(count, _SEED)):
        meshes += ["--mesh", str(folder / f"thing_{number:03}.ply")]
        write_mesh(Path(meshes[-1]), mesh)
    for network, keys in _RECIPES.items():
        changes = [word for key in (*keys, _BANK, "workers=0") for word in ("--set", key)]
        work = folder / "work" / f"{count}_{network}"
        _run("train", "--bundle", str(bundle), "--network", network, *meshes, "--work-dir", str(work), *changes)
        meshes = []
    return bundle


def _measured(bundle: Path, frames: int) -> dict[str, float]:
    """Return medians in milliseconds, the most memory, and what the weights take on the disk, both in megabytes."""
    report = bundle.parent / f"{bundle.name}.json"
    options = ["--objects", str(BOXES), "--frames", str(frames), "--backend", "pix2pose", "--refiner", "none"]
    _run("benchmark", "--bundle", str(bundle), *options, "--json", str(report))
    figures = json.loads(report.read_text())
    sizes = {name: (bundle / f"{name}.safetensors").stat().st_size / _MEGABYTE for name in _RECIPES}
    return {
        **{f"{name}_ms": figures["stages_ms"][name]["p50"] for name in ("detection", "pose", "total")},
        **{f"{name}_mb": size for name, size in sizes.items()},
        "memory_mb": figures["peak_memory_mb"]["rss"],
    }


def _run(program: str, *arguments: str) -> None:
    command = [sys.executable, "-m", f"pose_estimation_ros.cli.{program}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"pose_{program} failed: {run.stderr}")


if __name__ == "__main__":
    main()
