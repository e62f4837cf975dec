"""The settings of a whole run: which methods, how each of them works, and where every value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pose_estimation_ros.methods.base import Kind, Method
from pose_estimation_ros.methods.registry import choices, pipeline_methods
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle
from pose_estimation_ros.settings import (
    Layer,
    SettingInfo,
    Settings,
    SettingsError,
    flatten,
    list_settings,
    nearest,
    refuse_unknown,
    resolve,
    setting,
    values_of,
)
from pose_estimation_ros.tracking.settings import TrackingSettings
from pose_estimation_ros.verification.settings import SecondLookSettings, VerificationSettings

DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d+)?)$"
# The settings that choose a method; which ones there are is known when the program runs.
_CHOSEN: Mapping[str, Kind] = {"backend": "backend", "refiner": "refiner", "detector.method": "detector"}


class DetectorSettings(Settings):
    """What finds the objects."""

    method: str = setting("mask_rcnn", "Detector: mask_rcnn, patches, proposals, or one of another package.")
    score_threshold: float = setting(
        0.5,
        "Detections from this score on get a pose; those below only as verification.candidate_threshold says. Takes "
        "effect with the next frame.",
        ge=0.0,
        le=1.0,
        at_run_time=True,
    )


class PoseSettings(Settings):
    """What becomes of the poses."""

    score_threshold: float = setting(
        -1.0,
        "Poses below this score are not published (with tracking: whose mean score of late is below it, see "
        "tracking.scores); -1: below 0.5 where scores are probabilities (the bundle has a calibrated score for backend "
        "and refiner), and all are published where they are not. Takes effect with the next frame.",
        ge=-1.0,
        le=1.0,
        at_run_time=True,
    )


class PipelineSettings(Settings):
    """Which methods work, and where."""

    backend: str = setting("pix2pose", "Pose estimator: one that the bundle has weights for.")
    refiner: str = setting(
        "none", "Refinement of the poses by render-and-compare: attention; none leaves them as they are."
    )
    device: str = setting(
        "auto", "Where the networks run: auto (the GPU if there is one), cpu, cuda, cuda:N.", pattern=DEVICE_PATTERN
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "Number format of the networks; auto takes bfloat16 where the processor or GPU computes in it."
    )
    mesh_dir: str = setting("", "Folder of the meshes, for bundles that may not ship them; empty for the bundle's own.")
    objects: tuple[str, ...] = setting(
        (),
        "Names of the objects that are looked for; empty for all of the bundle. Takes effect with the next frame.",
        at_run_time=True,
    )
    detector: DetectorSettings = DetectorSettings()
    pose: PoseSettings = PoseSettings()
    second_looks: SecondLookSettings = SecondLookSettings()
    verification: VerificationSettings = VerificationSettings()
    tracking: TrackingSettings = TrackingSettings()


@dataclass(frozen=True)
class RunSettings:
    """Everything that a pipeline's result depends on, apart from the bundle."""

    pipeline: PipelineSettings
    methods: Mapping[str, Settings]  # of every method, by its name
    origins: Mapping[str, str]  # full name of every setting to where its value came from

    def values(self) -> dict[str, Any]:
        """Return all values by full name."""
        found = dict(values_of(self.pipeline))
        for name, settings in self.methods.items():
            found |= dict(values_of(settings, f"{name}."))
        return found


def known_settings() -> dict[str, SettingInfo]:
    """Return every setting by its full name: those of the pipeline, and those of all methods that are installed.

    Raises:
        ValueError: if a method has the name of a group of settings.
    """
    found = {item.name: item for item in list_settings(PipelineSettings)}
    found |= {name: replace(found[name], choices=choices(kind)) for name, kind in _CHOSEN.items()}
    groups = {name.partition(".")[0] for name in found}
    for name, method in pipeline_methods().items():
        if name in groups:
            raise ValueError(f"method {name!r}: there is a setting of that name; expected another name")
        found |= {item.name: item for item in list_settings(method.settings_model(), f"{name}.")}
    return found


def resolve_run(bundle: Bundle | None, layers: Sequence[Layer] = ()) -> RunSettings:
    """Find the values of all settings: defaults, then those of the bundle, then the layers, later ones winning.

    Raises:
        SettingsError: if a name is unknown or a value is bad; the message says where it was set.
    """
    everything = [*bundle_layer(bundle), *layers]
    known = known_settings()
    for layer in everything:
        refuse_unknown(layer.values, known, layer.origin)
    pipeline = resolve(PipelineSettings, everything)
    chosen: dict[str, Settings] = {}
    origins = dict(pipeline.origins)
    for name, method in pipeline_methods().items():
        resolved = resolve(method.settings_model(), everything, f"{name}.")
        chosen[name] = resolved.settings
        origins |= resolved.origins
    run = RunSettings(pipeline.settings, chosen, origins)
    _refuse_unknown_methods(run)
    return run


def _refuse_unknown_methods(run: RunSettings) -> None:
    values = run.values()
    for name, kind in _CHOSEN.items():
        if values[name] not in choices(kind):
            raise SettingsError(
                f"{run.origins[name]}: {name} = {values[name]!r}: {nearest(values[name], choices(kind))}"
            )


def bundle_layer(bundle: Bundle | None) -> list[Layer]:
    """Return what a bundle says of settings, as no or one layer."""
    if bundle is None or not bundle.settings:
        return []
    return [Layer(str(bundle.path / BUNDLE_FILE), flatten(bundle.settings))]


def resolve_method(method: Method, bundle: Bundle | None, layers: Sequence[Layer] = ()) -> Settings:
    """Find the settings of one method: defaults, then those of the bundle, then the layers, later ones winning.

    Raises:
        SettingsError: if a value is bad.
    """
    return resolve(method.settings_model(), [*bundle_layer(bundle), *layers], f"{method.name}.").settings
