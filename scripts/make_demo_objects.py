#!/usr/bin/env python3
"""Make the objects of the demo bundle: five small meshes of our own, and models/demo/bundle.yaml.

    .venv/bin/python scripts/make_demo_objects.py [--bundle models/demo]

Every mesh is computed from formulas: metres, origin in the centre of its box, z up, colours and normals per vertex,
dense enough that the colours carry the texture. Networks that the bundle already has are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_shapes import PALETTE, Part, blend, box, colour, join, patch, plain, put, revolve, turn, without, write_ply
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel

PRIOR = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.35, 0.9), other=0.05)


def make_mug() -> Part:
    """Make a mug with a printed seascape and a striped handle: no symmetry."""
    radius, half, wall = 0.042, 0.050, 0.004

    def outside(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        angle = np.arctan2(y, x)  # the handle is at angle 0
        image = blend("white", "sky", (z + half) / (2 * half))
        along = angle * radius

        def disc(at_deg: float, height: float, size: float) -> np.ndarray:
            return np.hypot(along - np.deg2rad(at_deg) * radius, z - height) < size

        put(image, z < 0.030 - np.abs(along - np.deg2rad(-75) * radius) * 1.1, "green")
        put(image, disc(75, 0.016, 0.020), "red")
        put(image, disc(75, 0.016, 0.009), "yellow")
        sail = np.abs(np.abs(angle) - np.pi) * radius * np.sign(-angle)
        put(image, (z > -0.012) & (z < 0.036) & (sail > 0.001) & (sail < 0.022 - (z + 0.012) * 0.45), "orange")
        put(image, (z > -0.012) & (z < 0.028) & (sail < -0.002) & (sail > -0.015 + (z + 0.012) * 0.37), "purple")
        put(image, z < -0.020 + 0.006 * np.sin(4 * angle), "teal")
        put(image, z < -0.034 + 0.004 * np.sin(5 * angle + 1), "blue")
        put(image, (z > 0.041) & (np.floor((angle + np.pi) / (np.pi / 6)) % 2 == 0), "black")
        return image

    def lining(points: np.ndarray) -> np.ndarray:
        image = blend("brown", "white", (points[:, 2] + half) / half)
        put(image, (points[:, 2] > 0.5 * half) & (points[:, 1] > 0), "pink")
        return image

    body = join([
        revolve([(0.0, -half), (radius, -half)], plain("blue"), spacing_m=0.0045),
        revolve([(radius, -half), (radius, half)], outside),
    ])  # fmt: skip
    rim, floor = (radius - wall, half), (radius - wall, wall - half)
    inner = revolve([(radius, half), rim, floor, (0.0, wall - half)], lining, spacing_m=0.0045)

    def handle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        arc, around = np.deg2rad(-100 + 200 * u), -2 * np.pi * v
        ring = np.stack([np.cos(arc) * 0.030, 0 * arc, np.sin(arc) * 0.030], axis=1)
        out = ring / 0.030
        side = np.array([0.0, 1.0, 0.0])
        tube = np.cos(around)[:, None] * out * 0.006 + np.sin(around)[:, None] * side * 0.0085
        return np.array([radius + 0.002, 0, 0]) + ring + tube

    def stripes(points: np.ndarray) -> np.ndarray:
        image = colour("red", len(points))
        put(image, np.floor(points[:, 2] / 0.009) % 2 == 0, "white")
        put(image, points[:, 2] > 0.012, "orange")
        return image

    grip = without(patch(handle, (0.105, 0.045), stripes), lambda points: np.hypot(*points[:, :2].T) < radius - 0.001)
    return join([body, inner, grip])


def make_gear_box() -> Part:
    """Make a gear box with flange, shaft and motor: no symmetry, structured texture."""

    def housing(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        image = blend("teal", "blue", (x + 0.05) / 0.09)
        put(image, np.abs(y) < 0.006, "white")
        put(image, (y > 0.0299) & (np.floor((x + z) / 0.011) % 2 == 0), "yellow")
        put(image, (y < -0.0299) & (np.floor(x / 0.013) % 2 == 0) & (z > -0.012), "red")
        put(image, (x < -0.0499) & (np.floor(z / 0.010) % 2 == 0), "black")
        put(image, (x > 0.0399) & (np.hypot(y, z + 0.002) < 0.022), "orange")
        return image

    def flange(points: np.ndarray) -> np.ndarray:
        x, y, _ = points.T
        image = blend("orange", "purple", (x + 0.06) / 0.12)
        for hole_x, hole_y in ((-0.052, -0.034), (-0.052, 0.034), (0.052, -0.034), (0.052, 0.034)):
            put(image, np.hypot(x - hole_x, y - hole_y) < 0.0055, "black")
        return image

    def motor(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        image = colour("pink", len(points))
        angle = np.arctan2(y + 0.004, x + 0.020)
        put(image, np.floor(angle / (np.pi / 4)) % 2 == 0, "purple")
        put(image, z > 0.0459, "green")
        put(image, (z > 0.0459) & (np.abs(angle) < 0.5), "white")
        return image

    def shaft(points: np.ndarray) -> np.ndarray:
        image = colour("steel", len(points))
        put(image, (points[:, 0] > 0.048) & (points[:, 0] < 0.056), "red")
        put(image, points[:, 1] > 0.004, "black")
        return image

    base = box((-0.060, -0.042, -0.046), (0.060, 0.042, -0.036), flange)
    case = box((-0.050, -0.030, -0.036), (0.040, 0.030, 0.022), housing)
    z_to_x = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    axle = turn(
        revolve([(0.011, 0.0), (0.011, 0.022), (0.0, 0.022)], plain("steel")), z_to_x, (0.040, 0, -0.002), shaft
    )
    can = turn(
        revolve([(0.022, 0.0), (0.022, 0.024), (0.0, 0.024)], plain("pink")), np.eye(3), (-0.020, -0.004, 0.022), motor
    )
    case[0] = Part(
        case[0].points[:0], case[0].normals[:0], case[0].faces[:0], case[0].colors[:0]
    )  # stands on the flange
    return join([*base, *case, axle, can])


def make_toy_brick() -> Part:
    """Make a brick with eight studs whose shape and print are the same after half a turn about z."""
    length, width, height, stud = 0.062, 0.031, 0.024, 0.010

    def paint(points: np.ndarray) -> np.ndarray:
        # Half a turn maps (x, y) to (-x, -y): everything below depends on x * side, y * side with side = sign(y) or,
        # on the centre line, sign(x).
        side = np.where(np.abs(points[:, 1]) > 1e-9, np.sign(points[:, 1]), np.sign(points[:, 0]))
        x, y, z = points[:, 0] * side, points[:, 1] * side, points[:, 2]
        image = blend("red", "yellow", (x + length) / (2 * length))
        put(image, (z < 0.004) & (np.floor((x + length) / 0.0155) % 2 == 0), "blue")
        put(image, (z < -0.012), "green")
        put(image, (z < -0.012) & (x < 0), "purple")
        put(image, np.hypot(x - 0.034, z - 0.006) < 0.010, "white")
        put(image, (np.abs(x) > length - 1e-6) & (np.abs(z) < 0.013), "black")
        put(image, (z > height - 1e-6) & (x > 0) & (np.hypot(x - 0.046, y - 0.0155) > 0.013), "teal")
        return image

    def caps(points: np.ndarray) -> np.ndarray:
        side = np.sign(points[:, 1])
        x = points[:, 0] * side
        names = ("white", "pink", "black", "orange")
        image = np.empty((len(points), 3))
        for index, name in enumerate(names):
            put(image, np.floor((x + length) / 0.031).astype(int) == index, name)
        return image

    parts = box((-length, -width, -height), (length, width, height), paint)
    for x in (-0.0465, -0.0155, 0.0155, 0.0465):
        for y in (-0.0155, 0.0155):
            knob = revolve([(0.0095, 0.0), (0.0095, stud), (0.0, stud)], plain("white"))
            # The far half of the studs is the near half turned, vertex by vertex.
            knob = turn(knob, np.diag([1.0, 1.0, 1.0]) if y > 0 else np.diag([-1.0, -1.0, 1.0]), (0, 0, 0))
            parts.append(turn(knob, np.eye(3), (x, y, height), caps))
    return join(parts)


def make_bottle() -> Part:
    """Make a bottle with bands along its axis only: the same after any turn about z."""
    profile = [
        (0.0, -0.075), (0.030, -0.075), (0.033, -0.070), (0.033, -0.022), (0.027, -0.014), (0.027, 0.000),
        (0.033, 0.008), (0.033, 0.024), (0.026, 0.036), (0.014, 0.046), (0.014, 0.056), (0.0185, 0.0565),
        (0.0185, 0.075), (0.0, 0.075),
    ]  # fmt: skip
    bands = [(-0.066, "black"), (-0.056, "yellow"), (-0.050, "blue"), (-0.034, "orange"), (-0.028, "white"),
             (-0.018, "purple"), (-0.004, "green"), (0.004, "yellow"), (0.012, "pink"), (0.022, "blue"),
             (0.032, "sky"), (0.042, "white"), (0.0562, "teal"), (0.066, "red"), (1.0, "brown")]  # fmt: skip

    def paint(points: np.ndarray) -> np.ndarray:
        radius, z = np.hypot(*points[:, :2].T), points[:, 2]
        index = np.searchsorted([top for top, _ in bands], z)
        image = np.array([PALETTE[name] for _, name in bands])[index]
        put(image, (z > 0.0749) & (radius < 0.009), "yellow")
        put(image, (z < -0.0749) & (radius < 0.016), "red")
        return image

    return revolve(profile, paint)


def make_duckling() -> Part:
    """Make a one-coloured duckling: a weakly textured object that only its shape tells apart."""
    bodies = [  # centre, half axes in metres
        ((-0.006, 0.0, -0.024), (0.052, 0.037, 0.030)),
        ((0.028, 0.0, 0.030), (0.026, 0.024, 0.025)),
        ((0.058, 0.0, 0.027), (0.017, 0.014, 0.007)),
        ((-0.056, 0.0, -0.006), (0.018, 0.015, 0.011)),
        ((0.018, 0.0, 0.004), (0.022, 0.021, 0.020)),
        ((-0.010, 0.034, -0.018), (0.026, 0.009, 0.014)),
        ((-0.010, -0.034, -0.018), (0.026, 0.009, 0.014)),
    ]

    def distance(points: np.ndarray) -> np.ndarray:
        fields = []
        for centre, axes in bodies:
            scaled = (points - centre) / axes
            length = np.linalg.norm(scaled, axis=1)
            fields.append(length * (length - 1.0) / np.maximum(np.linalg.norm(scaled / axes, axis=1), 1e-9))
        return -0.003 * np.log(np.exp(-np.array(fields) / 0.003).sum(axis=0))  # smooth minimum

    # Every ray from a point inside meets the skin; the reach of the rays, smoothed, is the shape.
    centre, columns, rows = np.array([0.014, 0.0, 0.002]), 240, 121

    def rays(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        polar, angle = np.pi * (1 - v), 2 * np.pi * u
        return np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)], axis=-1)

    grid = rays(*np.meshgrid(np.arange(columns) / columns, np.arange(rows) / (rows - 1))).reshape(-1, 3)
    reach = np.full(len(grid), 0.11)
    for _ in range(400):  # from outside inward: the outermost skin
        reach -= 0.5 * np.maximum(distance(centre + reach[:, None] * grid), 0.0)
    smooth = gaussian_filter(reach.reshape(rows, columns), sigma=2.0, mode=("nearest", "wrap"))
    smooth[[0, -1]] = smooth[[0, -1]].mean(axis=1, keepdims=True)
    around = np.arange(-8, columns + 9)
    spline = RectBivariateSpline(np.arange(rows) / (rows - 1), around / columns, smooth[:, around % columns])
    return patch(lambda u, v: centre + spline.ev(v, u)[:, None] * rays(u, v), (0.22, 0.13), plain("yellow"))


def centred(part: Part) -> Part:
    """Move the centre of the box into the origin."""
    centre = (part.points.min(axis=0) + part.points.max(axis=0)) / 2.0
    return replace(part, points=part.points - centre)


def describe(object_id: int, name: str, part: Part, **symmetries) -> ObjectModel:
    """Describe a mesh for the catalog: its box and the largest distance between two vertices."""
    points = part.points.astype(np.float32).astype(np.float64)
    (x0, y0, z0), (x1, y1, z1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    diameter = float(pdist(points[ConvexHull(points).vertices]).max())
    return ObjectModel(object_id, name, diameter, ((x0, y0, z0), (x1, y1, z1)), Path(f"{name}.ply"), "m", **symmetries)


def main() -> int:
    """Write the meshes and the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("models/demo"), help="folder of the bundle")
    bundle_path = parser.parse_args().bundle
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    recipes: list[tuple[str, Callable[[], Part], dict]] = [
        ("mug", make_mug, {}),
        ("gear_box", make_gear_box, {}),
        ("toy_brick", make_toy_brick, {"discrete_symmetries": (half_turn,)}),
        ("bottle", make_bottle, {"continuous_symmetries": (ContinuousSymmetry((0.0, 0.0, 1.0)),)}),
        ("duckling", make_duckling, {}),
    ]
    (bundle_path / "meshes").mkdir(parents=True, exist_ok=True)
    models = []
    for object_id, (name, make, symmetries) in enumerate(recipes, start=1):
        part = centred(make())
        path = bundle_path / "meshes" / f"{name}.ply"
        write_ply(path, part)
        models.append(describe(object_id, name, part, **symmetries))
        print(
            f"{path}: {len(part.points)} vertices, {len(part.faces)} faces, {path.stat().st_size // 1024} KiB, "
            f"diameter {models[-1].diameter_m:.4f} m"
        )
    networks = load_bundle(bundle_path).networks if (bundle_path / BUNDLE_FILE).is_file() else {}
    save_bundle(
        Bundle(
            path=bundle_path,
            name="demo",
            catalog=Catalog(tuple(models)),
            networks=networks,
            pose_prior=PRIOR,
            description="Five objects of our own making, written by scripts/make_demo_objects.py",
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
