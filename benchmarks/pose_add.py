"""How long `pose_add --minutes 0` takes for one object, and how much memory.

    python benchmarks/pose_add.py

Makes a mesh, a lumpy ball of 100,000 triangles with a picture on it, runs the command in a process of its own, and
prints the time on the clock with the start of the program, the time of the processor and the most memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.mesh import Mesh, vertex_normals
from pose_estimation_ros.objects.mesh_writing import write_mesh

ROUND, HIGH = 250, 200  # quads: twice as many triangles
RADIUS_M, LUMP = 0.05, 0.15
PICTURE_PX = 1024
_SEED = 7
_MEGABYTE = 1e6


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/pose_add.py")
    mesh = lumpy_ball()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "lump.ply"
        write_mesh(file, mesh)
        command = [sys.executable, "-m", "pose_estimation_ros.cli.add", "--bundle", str(Path(scratch) / "mine")]
        started = time.monotonic()
        subprocess.run([*command, "--mesh", f"lump={file}"], check=True)
        wall = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = Rows()
    rows.add(
        triangles=len(mesh.faces),
        wall_s=wall,
        processor_s=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss * 1024 / _MEGABYTE,
    )
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows}, _SEED)


def lumpy_ball() -> Mesh:
    """Return a closed shape without symmetries that shows a picture of noise."""
    generator = np.random.default_rng(_SEED)
    around, up = np.meshgrid(np.linspace(0.0, 1.0, ROUND + 1), np.linspace(0.0, 1.0, HIGH + 1))
    angle, height = 2.0 * np.pi * around, np.pi * (up - 0.5)
    lump = np.zeros_like(angle)
    for number, (phase, size) in enumerate(generator.normal(size=(6, 2)), start=1):
        lump += size * np.cos(number % 3 * angle + phase) * np.cos(height) ** 2
    radius = RADIUS_M * (1.0 + LUMP * np.tanh(lump))
    places = [radius * np.cos(height) * np.cos(angle), radius * np.cos(height) * np.sin(angle), radius * np.sin(height)]
    vertices = np.stack(places, axis=2).reshape(-1, 3).astype(np.float32)
    corner = np.arange(len(vertices)).reshape(HIGH + 1, ROUND + 1)
    low, right, top, both = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    faces = np.concatenate(
        [np.stack(part, axis=2).reshape(-1, 3) for part in ((low, right, both), (low, both, top))]
    ).astype(np.int64)
    uv = np.stack([around, up], axis=2).reshape(-1, 2).astype(np.float32)
    picture = generator.random((PICTURE_PX, PICTURE_PX, 3)).astype(np.float32)
    grey = np.full_like(vertices, 0.5)
    return Mesh(vertices, faces, vertex_normals(vertices, faces), grey, uv[faces], picture)


if __name__ == "__main__":
    main()
