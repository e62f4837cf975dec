"""Compare robust PnP solvers.

    OMP_NUM_THREADS=1 python benchmarks/pnp.py

Every solver gets the same correspondences (a 12 cm object at 0.5 to 1.2 m, 1 px noise, false matches inside the
object's box), the same threshold (3 px) and at most 2000 iterations, on one thread. Columns: share of false matches,
median CPU time of the solver, median rotation error as returned and after the refinement of `solve_pnp`, median
translation error after it, and the share of poses that are right then (5 degrees and 5 cm).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from itertools import product

import cv2
import numpy as np
import poselib
from scipy.spatial.transform import Rotation

from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.pnp import solve_pnp

INTRINSICS = np.array([[572.0, 0.0, 325.0], [0.0, 573.0, 242.0], [0.0, 0.0, 1.0]])
THRESHOLD_PX = 3.0
ITERATIONS = 2000
RIGHT_DEG, RIGHT_M = 5.0, 0.05
WHOLE = "solve_pnp, refinement included"


def opencv(flags: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray | None]:
    """Return a solver that calls OpenCV's RANSAC with a minimal solver or a USAC preset."""

    def solve(pixels: np.ndarray, points: np.ndarray) -> np.ndarray | None:
        cv2.setRNGSeed(0)
        found, turn, shift, _ = cv2.solvePnPRansac(
            points, pixels, INTRINSICS, None, iterationsCount=ITERATIONS, reprojectionError=THRESHOLD_PX,
            confidence=0.9999, flags=flags,
        )  # fmt: skip
        if not found or not np.isfinite(turn).all():
            return None
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
        return pose

    return solve


def poselib_with(minimum: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray | None]:
    """Return a solver that calls PoseLib with at least so many iterations."""
    params = [INTRINSICS[0, 0], INTRINSICS[1, 1], INTRINSICS[0, 2], INTRINSICS[1, 2]]
    camera = {"model": "PINHOLE", "width": 0, "height": 0, "params": params}
    options = {"max_reproj_error": THRESHOLD_PX, "min_iterations": minimum, "max_iterations": ITERATIONS, "seed": 0}

    def solve(pixels: np.ndarray, points: np.ndarray) -> np.ndarray | None:
        found, _ = poselib.estimate_absolute_pose(pixels, points, camera, options, {"max_iterations": 5})
        pose = np.eye(4)
        pose[:3] = found.Rt
        return pose if np.isfinite(pose).all() else None

    return solve


SOLVERS = {
    "OpenCV EPNP": opencv(cv2.SOLVEPNP_EPNP),
    "OpenCV SQPNP": opencv(cv2.SOLVEPNP_SQPNP),
    "OpenCV AP3P": opencv(cv2.SOLVEPNP_AP3P),
    "OpenCV USAC_DEFAULT": opencv(cv2.USAC_DEFAULT),
    "OpenCV USAC_ACCURATE": opencv(cv2.USAC_ACCURATE),
    "OpenCV USAC_MAGSAC": opencv(cv2.USAC_MAGSAC),
    "PoseLib, 1000 at least": poselib_with(1000),
    "PoseLib, 100 at least": poselib_with(100),
}


def problem(seed: int, count: int, outliers: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make pixels (N, 2), points (N, 3) and the pose (4, 4) behind them."""
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = rng.uniform([-0.15, -0.15, 0.5], [0.15, 0.15, 1.2])
    points = rng.uniform(-0.06, 0.06, (count, 3))
    homogeneous = (points @ pose[:3, :3].T + pose[:3, 3]) @ INTRINSICS.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:] + rng.normal(0.0, 1.0, (count, 2))
    false = rng.random(count) < outliers
    pixels[false] = rng.uniform(pixels.min(axis=0), pixels.max(axis=0), (false.sum(), 2))
    return pixels, points, pose


def errors(estimate: np.ndarray | None, truth: np.ndarray) -> tuple[float, float]:
    """Return degrees and metres between two poses; infinity where there is none."""
    if estimate is None:
        return math.inf, math.inf
    angle = Rotation.from_matrix(estimate[:3, :3].T @ truth[:3, :3]).magnitude()
    return math.degrees(angle), float(np.linalg.norm(estimate[:3, 3] - truth[:3, 3]))


def measure(name: str, count: int, outliers: float, trials: int) -> dict[str, float]:
    """Run one solver on one kind of problem and return its figures; all of `solve_pnp` where its name is given."""
    raw, refined, solver_s = [], [], []
    for seed in range(trials):
        pixels, points, pose = problem(seed, count, outliers)
        start_s = time.process_time()
        if name == WHOLE:
            result = solve_pnp(pixels, points, INTRINSICS, None, THRESHOLD_PX, ITERATIONS)
            solver_s.append(time.process_time() - start_s)
        else:
            start = SOLVERS[name](pixels, points)
            solver_s.append(time.process_time() - start_s)
            raw.append(errors(start, pose)[0])
            result = None
            if start is not None:
                result = solve_pnp(pixels, points, INTRINSICS, None, THRESHOLD_PX, iterations=0, initial=start)
        refined.append(errors(None if result is None else result.camera_from_object, pose))
    degrees, metres = np.median(refined, axis=0)
    return {
        "ms": 1e3 * float(np.median(solver_s)),
        "start_deg": float(np.median(raw)) if raw else float(degrees),
        "deg": float(degrees),
        "mm": 1e3 * float(metres),
        "right": float(np.mean([degrees < RIGHT_DEG and metres < RIGHT_M for degrees, metres in refined])),
    }


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=[30, 100, 600, 2000])
    parser.add_argument("--outliers", type=float, nargs="+", default=[0.0, 0.3, 0.6, 0.8])
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/pnp.py")
    cv2.setNumThreads(1)
    for solver in SOLVERS.values():  # the first call loads libraries
        solver(*problem(0, 100, 0.3)[:2])
    rows = Rows()
    for count, share, name in product(arguments.counts, arguments.outliers, [*SOLVERS, WHOLE]):
        rows.add(correspondences=count, false=share, solver=name, **measure(name, count, share, arguments.trials))
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


if __name__ == "__main__":
    main()
