"""pose_label: make pose annotations of photographs, by itself or with a person at a page in the browser.

Takes photographs with rough poses, or finds the objects with the bundle's networks; makes the poses accurate with the
refiner, checks them against the edges of the photographs, and writes those that are right as a data set in BOP layout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.cli.recipes import read_model
from pose_estimation_ros.cli.settings_options import add_settings_option, method_help, settings_of
from pose_estimation_ros.data.calibration import Calibration, calibration_from_file, calibration_from_numbers
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.board import Board, BoardSettings
from pose_estimation_ros.labelling.board_places import BoardPlaces
from pose_estimation_ros.labelling.dataset import LabelledDataset
from pose_estimation_ros.labelling.labeller import Labeller, Objects
from pose_estimation_ros.labelling.labels import LabelBook
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.object_views import ObjectViews
from pose_estimation_ros.labelling.photos import Photo, open_photos
from pose_estimation_ros.labelling.server import LabelServer
from pose_estimation_ros.labelling.session import LabelSession
from pose_estimation_ros.labelling.settings import LabelSettings
from pose_estimation_ros.methods.base import LoadContext, LoadedMethod, Method
from pose_estimation_ros.methods.registry import NONE, find_method, methods_of
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_methods import has_networks, loaded
from pose_estimation_ros.pipeline_settings import RunSettings

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C
_PORT = 8642


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_label: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pose_label: interrupted; what is labelled is kept, the same command goes on", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_label", description=__doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    add("--photos", type=Path, required=True, metavar="DIR", help="a data set in BOP layout, or a folder of images")
    add("--split", default="test", help="folder of the photographs in the data set (default: %(default)s)")
    add(
        "--camera", type=Path, metavar="FILE", help="of a folder of images: calibration as camera_calibration writes it"
    )
    add("--intrinsics", type=float, nargs=4, metavar=("FX", "FY", "CX", "CY"), help="instead, pixels, no distortion")
    add("--image-range", metavar="A:B[:STEP]", help="only these photographs, counted from 0")
    add("--board", type=Path, metavar="FILE", help="a board on which the objects stand, see pose_board")
    add("--auto", action="store_true", help="label without a person, and say which labels want one")
    add("--out", type=Path, metavar="DIR", help="data set to make or to go on with (default: out/labels/NAME)")
    add("--refiner", help=f"{method_help('refiner')}; where they say none, the first that the bundle has weights for")
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes, where the bundle ships none (default: DIR/models)")
    add("--config", type=Path, metavar="FILE", help="how poses are refined and judged, YAML: keys of LabelSettings")
    add("--port", type=int, default=_PORT, help="of the page on 127.0.0.1, 0 for any free one (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    add_settings_option(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    bundle = load_bundle(arguments.bundle)
    bundle.catalog.require_single_meshes("pose_label")
    calibration = _calibration(arguments)
    photos = open_photos(arguments.photos, arguments.split, calibration)
    if arguments.image_range is not None:
        photos = slice_images(photos, "--image-range", arguments.image_range)
    out = arguments.out or Path("out/labels") / arguments.photos.resolve().name
    book = LabelBook(out, _origin(arguments, bundle, calibration))
    for photo in photos:
        book.check(photo.key, photo.path.name)
    mesh_dir = arguments.mesh_dir
    if mesh_dir is None and bundle.meshes is None:
        mesh_dir = arguments.photos / "models"
    meshes = bundle.load_meshes(mesh_dir)
    renderer = EdgeRenderer(meshes)
    find = None
    if arguments.board is not None:
        board = Board(read_model(BoardSettings, arguments.board))
        find = BoardPlaces(board, bundle.catalog, photos, book).find
    labeller = _labeller(arguments, bundle, renderer, mesh_dir, find)
    dataset = LabelledDataset(out, bundle.catalog, meshes, renderer)
    if arguments.auto:
        _label_all(photos, labeller, book, dataset)
        return
    views = ObjectViews(meshes, renderer.caster)
    _serve(LabelServer(LabelSession(photos, labeller, views, book, dataset), arguments.port), dataset)


def _calibration(arguments: argparse.Namespace) -> Calibration | None:
    if arguments.camera is not None and arguments.intrinsics is not None:
        raise ValueError("--camera and --intrinsics: expected one of them")
    if arguments.camera is not None:
        return calibration_from_file(arguments.camera)
    return None if arguments.intrinsics is None else calibration_from_numbers(*arguments.intrinsics)


def _origin(arguments: argparse.Namespace, bundle: Bundle, calibration: Calibration | None) -> dict[str, Any]:
    """Return what labels depend on and a run that goes on must not change, as JSON holds it."""
    origin = {"bundle": bundle.name, "photos": str(arguments.photos.resolve()), "split": arguments.split}
    if calibration is None:
        return origin
    numbers = {"intrinsics": calibration.intrinsics.tolist(), "distortion": list(calibration.distortion)}
    return origin | {"calibration": numbers | {"is_fisheye": calibration.is_fisheye}}


def _labeller(
    arguments: argparse.Namespace,
    bundle: Bundle,
    renderer: EdgeRenderer,
    mesh_dir: Path | None,
    find: Callable[[Frame], Objects] | None,
) -> Labeller:
    """Load what makes labels; without `find` the bundle's networks find the objects of photographs without poses."""
    settings = settings_of(arguments, bundle, tracking__enabled=False, device=arguments.device)
    method = _refiner(arguments.refiner, bundle, settings)
    context = LoadContext(bundle, resolve_device(arguments.device), None, mesh_dir, refines=True)
    refiner = loaded("refiner", method.name, context, settings)

    @lru_cache(maxsize=1)
    def pipeline() -> Pipeline:  # whoever has poses of all photographs needs no networks that find objects
        return Pipeline(bundle, refiner=LoadedMethod(method, refiner), mesh_dir=mesh_dir, settings=settings)

    def find_with_networks(frame: Frame) -> Objects:
        return [(item.object_index, np.asarray(item.camera_from_object)) for item in pipeline().process(frame).poses]

    return Labeller(
        bundle.catalog,
        refiner,
        renderer,
        find or find_with_networks,
        read_model(LabelSettings, arguments.config),
        settings.pipeline.precision,
    )


def _refiner(name: str | None, bundle: Bundle, settings: RunSettings) -> Method:
    """Return the refiner that is asked for, or else one that the bundle has weights for.

    Raises:
        ValueError: if there is none.
    """
    if name == NONE:
        raise ValueError(f"--refiner {NONE}: expected one that makes poses accurate")
    name = name or settings.pipeline.refiner
    if name != NONE:
        return find_method("refiner", name)
    able = [item for item in methods_of("refiner").values() if has_networks(bundle, item)]
    if not able:
        known = ", ".join(methods_of("refiner"))
        raise ValueError(
            f"{bundle.path}: no weights of a refiner ({known}); pose_add gives a bundle those of models/generic"
        )
    return able[0]


def _serve(server: LabelServer, dataset: LabelledDataset) -> None:
    """Serve the page until Ctrl-C."""
    print(
        f"pose_label: open {server.address} in a browser; Ctrl-C ends; accepted poses go to {dataset.folder}",
        flush=True,
    )
    with server:
        server.serve_forever()


def _label_all(photos: list[Photo], labeller: Labeller, book: LabelBook, dataset: LabelledDataset) -> None:
    """Label the photographs that have no labels yet."""
    for photo in tqdm([photo for photo in photos if photo.key not in book], unit="photo", disable=None):
        frame = photo.frame()
        labels = labeller.label(photo, frame)
        dataset.write(photo, frame, labels)  # first, so that what the book knows is there
        book.put(photo.key, photo.path.name, labels)
    doubted = [(photo.key, label) for photo in photos for label in book.of(photo.key) if label.verdict == "doubt"]
    for key, label in doubted:
        residual = "none" if label.residual_px is None else f"{label.residual_px:.1f} px"
        print(f"{key} {label.object_name}: in doubt, probability {label.probability:.2f}, residual {residual}")
    empty = [photo for photo in photos if not book.of(photo.key)]
    for photo in empty:
        print(f"{photo.key} {photo.path.name}: no object found")
    counts = book.counts()
    print(
        f"{dataset.folder}: {len(photos)} photographs, {counts['accept']} poses accepted, {counts['doubt']} in doubt, "
        f"{counts['reject']} rejected, {len(empty)} photographs without an object; the report is {book.path}"
    )


if __name__ == "__main__":
    sys.exit(main())
