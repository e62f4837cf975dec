"""Build the pipeline that the node's parameters ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.node_settings import ON_DEMAND
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline_settings import RunSettings
from pose_estimation_ros.ros.parameters import node_settings, run_settings

_PACKAGE, _MODELS = "pose_estimation_ros", "models"  # and where it keeps its bundles


class PipelineLike(Protocol):
    """What the node needs of a pipeline."""

    score_threshold: float
    min_pose_score: float
    objects: tuple[str, ...]

    @property
    def lowest_score(self) -> float:
        """Score below which no pose is published."""
        ...

    def process(self, frame: Frame) -> Any:
        """Return a result with poses, detections, timings_s and reason."""
        ...

    def reset_tracks(self) -> None:
        """Forget all tracks."""
        ...

    def detect_anew(self) -> None:
        """Detect in the next frame even if objects are followed from frame to frame."""
        ...

    def continue_tracks(self, previous: Any) -> None:
        """Go on with the tracks of another pipeline, of objects that both know."""
        ...


def _draw_nothing(result: Any, names: Collection[str]) -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline that is ready, with what the messages need to know of its objects."""

    pipeline: PipelineLike
    catalog: Catalog
    mesh_uris: Mapping[str, str] = field(default_factory=dict)  # by object name, where a mesh file exists
    description: str = ""
    debug_names: tuple[str, ...] = ()  # of the pictures that `draw_debug` makes
    draw_debug: Callable[[Any, Collection[str]], dict[str, np.ndarray]] = _draw_nothing  # of a result, by name
    settings: Mapping[str, Any] = field(default_factory=dict)  # in force, by full name
    weights: Mapping[str, str] = field(default_factory=dict)  # sha256 of the bundle's networks, by role


def load_pipeline(given: Mapping[str, Any]) -> LoadedPipeline:
    """Load the bundle, build the pipeline and run it once on an empty image.

    Args:
        given: those of the node's parameters that somebody set, by name; of the others, the bundle decides, or the
            defaults.

    Raises:
        ValueError: if a parameter does not fit the bundle.
        BundleError: if the bundle or its weights are missing or damaged.
    """
    own = node_settings(given)
    bundle = load_bundle(own.bundle)  # before the slow imports of the networks
    settings = run_settings(given, bundle)
    from pose_estimation_ros.debug_images import debug_names, draw_debug_images
    from pose_estimation_ros.pipeline import Pipeline
    from pose_estimation_ros.pipeline_warm_up import warm_up

    pipeline = Pipeline(bundle, settings=without_tracking(settings) if own.processing == ON_DEMAND else settings)
    warm_up(pipeline)
    mesh_dir = settings.pipeline.mesh_dir
    return LoadedPipeline(
        pipeline,
        bundle.catalog,
        mesh_uris(bundle, Path(mesh_dir).expanduser() if mesh_dir else None),
        str(bundle.path),
        debug_names(pipeline),
        partial(draw_debug_images, pipeline),
        settings.values(),
        {role: entry.sha256 for role, entry in bundle.networks.items()},
    )


def without_tracking(settings: RunSettings) -> RunSettings:
    """Return settings with which every frame stands for itself: between two calls everything may have moved."""
    alone = settings.pipeline.tracking.model_copy(update={"enabled": False, "mode": "detect"})
    return replace(settings, pipeline=settings.pipeline.model_copy(update={"tracking": alone}))


def mesh_uris(bundle: Bundle, mesh_dir: Path | None) -> dict[str, str]:
    """Return URIs of the meshes that exist, by object name."""
    uris = {}
    for index, model in enumerate(bundle.catalog):
        try:
            uris[model.name] = mesh_uri(bundle.mesh_path(index, mesh_dir))
        except BundleError:
            continue  # viewers show box, axes and label
    return uris


def mesh_uri(path: Path) -> str:
    """Return where viewers find a mesh: in the installed package, which they may have on another machine, or a file."""
    try:
        share = Path(get_package_share_directory(_PACKAGE))
    except (PackageNotFoundError, OSError):  # OSError: not even a place to look in
        return path.resolve().as_uri()
    parts = path.absolute().parts
    for start in (index for index, part in enumerate(parts) if part == _MODELS):
        installed = share.joinpath(*parts[start:])
        if installed.is_file() and installed.samefile(path):
            return f"package://{_PACKAGE}/{quote(Path(*parts[start:]).as_posix())}"
    return path.resolve().as_uri()
