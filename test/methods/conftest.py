"""One textured-enough object and frames that show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.objects.catalog import Catalog, ObjectModel


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    models = []
    for number, name in enumerate(("left", "right"), start=1):
        half = np.array([0.05, 0.04, 0.03]) * number
        centre = np.array([0.01, -0.02, 0.005])
        models.append(
            ObjectModel(
                object_id=number,
                name=name,
                diameter_m=float(2.0 * np.linalg.norm(half)),
                bounds_m=(tuple(centre - half), tuple(centre + half)),
                mesh=Path(f"{name}.ply"),
            )
        )
    return Catalog(tuple(models))
