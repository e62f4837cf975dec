r"""Measure PnP as a layer: how exact its gradient is, and what forward and backward cost.

    python benchmarks/bpnp.py

Accuracy: derivatives of the pose (rotation matrix and translation) by pixels and by object points of the eight corners
of a 10 x 15 x 20 cm box, against finite differences of the converged solver, for the exact form and for Gauss-Newton.
Time: milliseconds for batches of 1 to 256 samples with 8 to 256 points, starting from a pose that is 3 cm and 3 degrees
off, as in training, where the pose of the step before is the start.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor

from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.bpnp import bpnp, project_pose
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle

CAMERA = torch.tensor([[572.0, 0.0, 325.0], [0.0, 573.0, 242.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
CORNERS = torch.tensor([[x, y, z] for x in (-0.05, 0.05) for y in (-0.075, 0.075) for z in (-0.1, 0.1)]).double()


def problem(batch: int, points: Tensor, distance: float, noise_px: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pixels, points, intrinsics and true poses of random views."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.randn(batch, 3, generator=generator, dtype=torch.float64)
    place = torch.randn(batch, 2, generator=generator, dtype=torch.float64) * 0.05 * distance
    pose = torch.cat([turn, place, torch.full((batch, 1), distance, dtype=torch.float64)], dim=1)
    many, camera = points.expand(batch, -1, -1).clone(), CAMERA.expand(batch, -1, -1).clone()
    pixels = project_pose(pose, many, camera)
    return pixels + noise_px * torch.randn(pixels.shape, generator=generator, dtype=torch.float64), many, camera, pose


def _entries(pose: Tensor) -> Tensor:
    return torch.cat([matrix_from_axis_angle(pose[:, :3]).flatten(1), pose[:, 3:]], dim=1)


def relative_error(which: int, distance: float, noise_px: float, gauss_newton: bool) -> float:
    """Return the largest relative error of the derivative of five poses by pixels (0) or points (1)."""
    worst = 0.0
    pixels, points, camera, poses = problem(5, CORNERS, distance, noise_px)
    for number in range(5):
        inputs = [pixels[number : number + 1], points[number : number + 1]]
        start = poses[number : number + 1]
        leaf = inputs[which].clone().requires_grad_()
        seen, known = (leaf if index == which else item for index, item in enumerate(inputs))
        out = _entries(bpnp(seen, known, camera[:1], initial=start, gauss_newton=gauss_newton))[0]
        analytic = torch.stack([torch.autograd.grad(value, leaf, retain_graph=True)[0].flatten() for value in out])
        step = (1e-3, 1e-6)[which]
        columns = []
        for index in range(leaf.numel()):
            ends = []
            for sign in (1.0, -1.0):
                moved = inputs[which].clone()
                moved.view(-1)[index] += sign * step
                seen, known = (moved if place == which else item for place, item in enumerate(inputs))
                ends.append(_entries(bpnp(seen, known, camera[:1], initial=start))[0])
            columns.append((ends[0] - ends[1]) / (2.0 * step))
        numeric = torch.stack(columns, dim=1)
        worst = max(worst, float((analytic - numeric).norm() / numeric.norm()))
    return worst


def _milliseconds(action: Callable[[], object], repeats: int) -> float:
    action()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return 1000.0 * best


def times(batch: int, count: int, repeats: int) -> tuple[float, float, float]:
    """Return milliseconds of the forward pass, the exact backward pass and Gauss-Newton's."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.1 - 0.05
    pixels, many, camera, pose = problem(batch, points, 0.6, 1.0)
    start = pose + torch.tensor([0.05, 0.0, 0.0, 0.0, 0.0, 0.03], dtype=torch.float64)
    leaf = pixels.float().requires_grad_()
    forward = _milliseconds(lambda: bpnp(leaf, many.float(), camera.float(), initial=start), repeats)
    backward = []
    for gauss_newton in (False, True):
        loss = bpnp(leaf, many.float(), camera.float(), initial=start, gauss_newton=gauss_newton).square().sum()
        backward.append(_milliseconds(partial(loss.backward, retain_graph=True), repeats))
    return forward, backward[0], backward[1]


def main() -> None:
    """Run the benchmark and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/bpnp.py")
    gradient, time_ms = Rows(), Rows()
    for (which, name), distance, noise_px in product(enumerate(("pixels", "points")), (0.3, 0.6, 1.5), (0.0, 1.0, 2.0)):
        exact, shortcut = (relative_error(which, distance, noise_px, flag) for flag in (False, True))
        gradient.add(derivative_by=name, distance_m=distance, noise_px=noise_px, exact=exact, gauss_newton=shortcut)
    print()
    for batch, count in product((1, 24, 256), (8, 128, 256)):
        forward, backward, shortcut = times(batch, count, arguments.repeats)
        time_ms.add(batch=batch, points=count, forward=forward, backward=backward, gauss_newton=shortcut)
    if arguments.result:
        write_result(arguments.result, origin, {"gradient": gradient, "time_ms": time_ms})


if __name__ == "__main__":
    main()
