"""pose_benchmark: measure time per stage, throughput and memory of a bundle on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.cli.settings_options import add_settings_option, method_help, settings_of
from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.machine import describe_machine
from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result
from pose_estimation_ros.evaluation.timing import Measurement, comparison, peak_memory_mb, spreads, table
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.symmetry import symmetric_distance, symmetry_transforms
from pose_estimation_ros.methods.base import Detector, LoadContext
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_settings import RunSettings
from pose_estimation_ros.tracking.object_pose import ObjectPose

SEQUENCE = "sequence"  # folder of a bundle's own images, BOP layout
_FRAME_NS = 33_000_000


@dataclass(frozen=True)
class Sample:
    """A frame and the boxes that stand for its objects."""

    frame: Frame
    boxes: list[Detection]
    poses: list[np.ndarray] = field(default_factory=list)  # true ones, (4, 4) each, of the boxes; none where unknown


class FixedBoxes:
    """Run the detector, then hand on the boxes of the sample, so that every frame carries the same load.

    Args:
        detector: what is measured; None measures none.

    Attributes:
        boxes: those of the sample.
        candidates: how many boxes there are to be with those that a detector is unsure of, where the pipeline looks
            at such; they lie beside the others.
    """

    def __init__(self, detector: Detector | None) -> None:
        self._detector = detector
        self.boxes: list[Detection] = []
        self.candidates = 0

    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return the boxes of the sample."""
        if self._detector is not None:
            asked = () if objects is None else (objects,)  # a detector of another package may know of no objects
            self._detector.detect(frame, score_threshold, *asked)
        missing = max(0, self.candidates - len(self.boxes))
        unsure = islice(cycle(self.boxes), missing if self.boxes else 0)
        return self.boxes + [replace(item, score=score_threshold, box=_beside(item.box)) for item in unsure]


def _beside(box: np.ndarray) -> np.ndarray:
    """Return a box (4,) moved by a fifth of its width."""
    return box + 0.2 * (box[2] - box[0]) * np.array([1.0, 0.0, 1.0, 0.0])


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        origin = origin_of("pose_benchmark", argv)
        second = _with_other_backend(arguments) if arguments.compare else None
        measurement = measure(arguments)
        print(table(measurement))
        other = measure(second) if second is not None else None
        content = asdict(measurement) | ({"compared_with": asdict(other)} if other else {})
        if arguments.result is not None:
            write_result(arguments.result, origin, content)
        if arguments.json is not None:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_benchmark: error: {error}", file=sys.stderr)
        return 2
    if other is not None:
        print(f"\n{table(other)}\n\n{comparison(measurement, other)}")
    return 0


def _with_other_backend(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of the run that is compared with."""
    changes = {"backend": arguments.compare, "assignments": [*arguments.assignments, *arguments.compare_set]}
    find_method("backend", arguments.compare)
    return argparse.Namespace(**{**vars(arguments), **changes})


def _fixed(arguments: argparse.Namespace) -> dict[str, object]:
    """Return what the options say of settings; smoothing would mix the poses of different images."""
    chosen = {
        "backend": arguments.backend,
        "refiner": arguments.refiner,
        "device": arguments.device,
        "detector__score_threshold": arguments.score_threshold,
        "tracking__enabled": False if arguments.compare else None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _detector(bundle: Bundle, device: torch.device, settings: RunSettings) -> Detector:
    method = find_method("detector", settings.pipeline.detector.method)
    detector: Detector = method.make(LoadContext(bundle, device, settings.methods[method.name]))
    return detector


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pose_benchmark",
        description=__doc__,
        epilog="Without --bop or --image the bundle's own sequence is used, and noise where it has none. Noise shows "
        "no object, so that a backend may find fewer correspondences and be faster than on real images.",
    )
    parser.add_argument("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--bop", type=Path, help="data set in BOP layout; boxes are those of the ground truth")
    source.add_argument("--image", type=Path, help="one image; as many boxes as objects are laid over it")
    parser.add_argument("--split", default="test", help="split of the data set (default: test)")
    parser.add_argument("--boxes", choices=["given", "model"], default="given",
                        help="given: the detector runs, but poses are estimated in the boxes of the source, as many in "
                        "every run; model: in the detector's own boxes (default: given)")  # fmt: skip
    parser.add_argument("--no-detector", action="store_true", help="leave the detector out")
    parser.add_argument("--backend", help=f"pose estimator: {method_help('backend')}")
    parser.add_argument("--refiner", help=f"refiner: {method_help('refiner')}")
    add_settings_option(parser)
    parser.add_argument("--compare", metavar="BACKEND",
                        help="afterwards run this pose estimator on the same frames, or the same one with other "
                        "settings (--compare-set), and compare time and rotation error")  # fmt: skip
    parser.add_argument("--compare-set", action="append", default=[], metavar="NAME=VALUE",
                        help="setting of the second run alone: --compare-set nemo.procedure=paper")  # fmt: skip
    parser.add_argument("--frames", type=int, default=30, help="frames to measure (default: 30)")
    parser.add_argument("--score-threshold", type=float, help="of the detector")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch on the CPU (default: PyTorch's own choice)")
    parser.add_argument("--mesh-dir", type=Path, help="where the meshes are that the bundle does not ship")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    add_result_option(parser)
    return parser


def measure(arguments: argparse.Namespace) -> Measurement:
    """Load the bundle, run the frames and return the numbers.

    Raises:
        ValueError: if an argument does not fit.
        BundleError: if the bundle lacks what is asked for.
    """
    if arguments.frames < 1:
        raise ValueError(f"--frames {arguments.frames}: expected at least 1")
    if arguments.no_detector and arguments.boxes == "model":
        raise ValueError("--boxes model: needs the detector that --no-detector leaves out")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    settings = settings_of(arguments, bundle, **_fixed(arguments))
    device = resolve_device(settings.pipeline.device)
    source, samples = open_source(arguments, bundle)
    start_s = time.perf_counter()
    detector = None if arguments.no_detector else _detector(bundle, device, settings)
    fixed = FixedBoxes(detector)
    pipeline = Pipeline(
        bundle,
        mesh_dir=arguments.mesh_dir,
        detector=detector if detector is not None and arguments.boxes == "model" else fixed,
        settings=settings,
    )
    if pipeline.verifier is not None:
        fixed.candidates = pipeline.verifier.settings.max_poses
    camera = samples[0].frame.camera
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    pipeline.warm_up(camera.width, camera.height)
    load_s = time.perf_counter() - start_s
    timings, boxes, poses, comparisons, errors = _run(
        pipeline, fixed, samples, arguments.frames, bool(arguments.compare) and arguments.boxes == "given"
    )
    return Measurement(
        machine=describe_machine(device),
        bundle=bundle.name,
        backend=settings.pipeline.backend,
        refiner=settings.pipeline.refiner,
        device=str(device),
        source=source,
        image_size=f"{camera.width}x{camera.height}",
        frames=len(timings),
        boxes_per_frame=float(np.mean(boxes)),
        poses_per_frame=float(np.mean(poses)),
        load_s=load_s,
        stages_ms=spreads(timings),
        throughput_fps=len(timings) / sum(item["total"] for item in timings),
        comparisons_per_pose=comparisons / max(1, sum(poses)),
        peak_memory_mb=peak_memory_mb(device),
        median_rotation_deg=float(np.degrees(np.median(errors))) if errors else None,
    )


def _run(
    pipeline: Pipeline, fixed: FixedBoxes, samples: list[Sample], frames: int, with_errors: bool
) -> tuple[list[dict[str, float]], list[int], list[int], int, list[float]]:
    """Return timings, boxes and poses per frame, all comparisons, and rotation errors in radians where truth is known.

    The results themselves hold whole images.
    """
    from tqdm import tqdm

    timings, boxes, poses, comparisons = [], [], [], 0
    errors: list[float] = []
    run = islice(cycle(samples), frames)
    for number, sample in enumerate(tqdm(run, total=frames, desc="frames", unit="frame", disable=None)):
        fixed.boxes = sample.boxes
        result = pipeline.process(replace(sample.frame, stamp_ns=number * _FRAME_NS))
        timings.append(result.timings_s)
        boxes.append(len(result.detections))
        poses.append(len(result.poses))
        comparisons += sum(pose.comparisons for pose in result.poses)
        if with_errors:
            errors += rotation_errors(pipeline.bundle.catalog, sample, result.poses)
    return timings, boxes, poses, comparisons, errors


def rotation_errors(catalog: Catalog, sample: Sample, poses: list[ObjectPose]) -> list[float]:
    """Return the angle in radians between each true pose and the one found in its box; pi / 2 where there is none."""
    errors = []
    for box, truth in zip(sample.boxes, sample.poses, strict=False):
        found = [item for item in poses if np.array_equal(item.box, box.box) and item.object_index == box.object_index]
        model = catalog[box.object_index]
        around = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
        symmetries = symmetry_transforms(model.discrete_symmetries, around)
        angles = [symmetric_distance(item.camera_from_object, truth, symmetries)[0] for item in found]
        errors.append(min(angles, default=float(np.pi / 2.0)))
    return errors


def open_source(arguments: argparse.Namespace, bundle: Bundle) -> tuple[str, list[Sample]]:
    """Return the name of the source of images and the samples, at most as many as frames are asked for.

    Raises:
        ValueError: if the image cannot be read, or no image shows an object of the bundle.
        FileNotFoundError: if the data set is not there.
    """
    if arguments.image is not None:
        return str(arguments.image), [_image(arguments.image, bundle.catalog)]
    own = bundle.path / SEQUENCE
    root = arguments.bop if arguments.bop is not None else own if own.is_dir() else None
    if root is None:
        return "noise", [_noise(bundle.catalog)]
    samples = list(islice(_data_set(BopDataset(root, arguments.split), bundle.catalog), arguments.frames))
    if not samples:
        raise ValueError(f"{root}: no image of split {arguments.split!r} shows an object of bundle {bundle.name!r}")
    return str(root), samples


def _data_set(dataset: BopDataset, catalog: Catalog) -> Iterator[Sample]:
    from pose_estimation_ros.evaluation.run import true_poses, truth_detections

    for image in dataset.images:
        targets = targets_from([image])
        boxes = truth_detections(image, targets, catalog)
        if boxes:
            yield Sample(dataset.frame(image), boxes, true_poses(image, targets, catalog))


def _image(path: Path, catalog: Catalog) -> Sample:
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    return _with_grid(np.ascontiguousarray(pixels[..., ::-1]), catalog)


def _noise(catalog: Catalog, width: int = 640, height: int = 480) -> Sample:
    return _with_grid(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), catalog)


def _with_grid(rgb: np.ndarray, catalog: Catalog) -> Sample:
    """Lay one box per object over the image, in rows and columns."""
    height, width = rgb.shape[:2]
    intrinsics = np.array([[width, 0.0, width / 2.0], [0.0, width, height / 2.0], [0.0, 0.0, 1.0]])
    columns = int(np.ceil(np.sqrt(len(catalog) * width / height)))
    rows = int(np.ceil(len(catalog) / columns))
    cell = np.array([width / columns, height / rows])
    boxes = []
    for index in range(len(catalog)):
        corner = cell * (index % columns, index // columns)
        boxes.append(Detection(index, 1.0, np.concatenate([corner + 0.15 * cell, corner + 0.85 * cell])))
    return Sample(Frame(rgb, Camera(intrinsics, width, height)), boxes)


if __name__ == "__main__":
    sys.exit(main())
