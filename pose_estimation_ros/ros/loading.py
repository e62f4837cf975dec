"""Build the pipeline that the node's parameters ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle
from pose_estimation_ros.objects.catalog import Catalog


class PipelineLike(Protocol):
    """What the node needs of a pipeline."""

    score_threshold: float
    min_pose_score: float

    @property
    def debug_names(self) -> tuple[str, ...]:
        """Names of the pictures that `explain` draws."""
        ...

    def process(self, frame: Frame) -> Any:
        """Return a result with poses, detections, timings_s and reason."""
        ...

    def explain(
        self, frame: Frame, detections: list[Detection], names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Draw what backend and refiner saw, by name."""
        ...

    def reset_tracks(self) -> None:
        """Forget all tracks."""
        ...


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline that is ready, with what the messages need to know of its objects."""

    pipeline: PipelineLike
    catalog: Catalog
    mesh_uris: Mapping[str, str] = field(default_factory=dict)  # by object name, where a mesh file exists
    description: str = ""


def load_pipeline(parameters: Mapping[str, Any]) -> LoadedPipeline:
    """Load the bundle, build the pipeline and run it once on an empty image.

    Args:
        parameters: the node's parameters by name.

    Raises:
        ValueError: if a parameter does not fit the bundle.
        BundleError: if the bundle or its weights are missing or damaged.
    """
    mesh_dir = Path(parameters["mesh_dir"]).expanduser() if parameters["mesh_dir"] else None
    bundle = load_bundle(parameters["bundle"])  # before the slow imports of the networks
    from pose_estimation_ros.pipeline import Pipeline
    from pose_estimation_ros.tracking.following import FollowSettings

    follows = parameters["tracking.mode"] == "refine"
    pipeline = Pipeline(
        bundle,
        backend=parameters["backend"],
        refiner=parameters["refiner"],
        device=parameters["device"],
        score_threshold=parameters["detector.score_threshold"],
        mesh_dir=mesh_dir,
        detector=parameters["detector.method"],
        track=parameters["tracking.enabled"],
        follow=FollowSettings(detect_every=parameters["tracking.detect_every"]) if follows else None,
    )
    pipeline.warm_up()
    return LoadedPipeline(pipeline, bundle.catalog, mesh_uris(bundle, mesh_dir), str(bundle.path))


def mesh_uris(bundle: Bundle, mesh_dir: Path | None) -> dict[str, str]:
    """Return file URIs of the meshes that exist, by object name."""
    uris = {}
    for index, model in enumerate(bundle.catalog):
        try:
            uris[model.name] = bundle.mesh_path(index, mesh_dir).resolve().as_uri()
        except BundleError:
            continue  # viewers show box, axes and label
    return uris
