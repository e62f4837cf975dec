"""Pictures of what the methods saw in a frame, for the debug topics of the node and for `pose_evaluate --plots`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult, Trace


def debug_names(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the names of the methods that draw what they saw."""
    used = (pipeline.backend_method, pipeline.refiner_method)
    return tuple(method.name for method in used if method is not None and method.drawing is not None)


def draw_debug_images(
    pipeline: Pipeline, result: PipelineResult, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Draw what backend and refiner saw; computed anew, so only when somebody looks.

    Args:
        pipeline: what made the result.
        result: of `Pipeline.process`.
        names: which of the `debug_names`; all where absent.

    Returns:
        Pictures (H, W, 3) uint8 by name; without detections the undistorted image.
    """
    trace = result.trace
    wanted = [name for name in debug_names(pipeline) if names is None or name in names]
    if trace is None:
        return {}
    pictures = {name: trace.frame.rgb.copy() for name in wanted}
    with torch.inference_mode(), use_precision(pipeline.settings.pipeline.precision):
        return pictures | _drawn(pipeline, trace, wanted)


def _drawn(pipeline: Pipeline, trace: Trace, wanted: Collection[str]) -> dict[str, np.ndarray]:
    pictures: dict[str, np.ndarray] = {}
    backend, refiner = pipeline.backend_method, pipeline.refiner_method
    if backend is not None and backend.name in wanted and trace.detections:
        estimator = pipeline.backend
        crops = crop_frame(trace.frame, trace.detections, estimator.crop_size, estimator.crop_padding, pipeline.device)
        pictures[backend.name] = backend.draw(estimator, trace.frame, crops, trace.detections)
    if refiner is not None and refiner.name in wanted and trace.hypotheses:
        pictures[refiner.name] = refiner.draw(pipeline.refiner, trace.frame, trace.hypotheses, trace.stages)
    return pictures
