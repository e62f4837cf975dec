"""Run a pipeline once before the first image, so that this one does not pay for what happens once."""

from __future__ import annotations

import numpy as np
import torch

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_frames import ahead


def warm_up(pipeline: Pipeline, width: int = 640, height: int = 480) -> None:
    """Run everything once on noise of a size in pixels; nothing is tracked afterwards.

    The detector on GPUs alone: on a CPU it costs a whole frame, and hardly makes the first one faster.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    intrinsics = np.array([[width, 0.0, width / 2.0], [0.0, width, height / 2.0], [0.0, 0.0, 1.0]])
    frame = Frame(pixels, Camera(intrinsics, width, height))
    box = np.array([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
    boxes = [Detection(index, 1.0, box) for index in range(len(pipeline.bundle.catalog))]
    if pipeline.device.type != "cpu":
        pipeline.process(frame)
    pipeline.process(frame, boxes)
    pipeline.process(frame, boxes[:1])
    if pipeline.refiner is not None:
        # Noise gives the backend no pose, and the refiner nothing to do.
        poses = [
            PoseHypothesis(index, index, ahead(model.centre_m, 4.0 * model.diameter_m), 1.0)
            for index, model in enumerate(pipeline.bundle.catalog)
        ]
        settings = pipeline.settings.pipeline
        with torch.inference_mode(), use_precision(settings.precision):
            pipeline.refiner.refine(frame, boxes, poses)
            if settings.tracking.mode == "refine":
                pipeline.refiner.refine(frame, boxes, poses, settings.tracking.stages)
    pipeline.reset_tracks()
