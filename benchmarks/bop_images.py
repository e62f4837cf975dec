"""What benchmarks on images share: the data set that the arguments name, and what poses are worth on it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.evaluation import report
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.results import add_result_option
from pose_estimation_ros.objects.bundle import load_bundle


def arguments_parser(description: str | None, bundle: str) -> argparse.ArgumentParser:
    """Return a parser that knows bundle, data set, split and how many of the images are taken."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=bundle)
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--image-step", type=int, default=1, help="every so many images")
    add_result_option(parser)
    return parser


class BopImages:
    """The bundle and the images that arguments name, and the objects that are looked for in them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.bundle = load_bundle(arguments.bundle)
        self.dataset = BopDataset(arguments.bop, arguments.split)
        self.dataset.images = self.dataset.images[:: arguments.image_step]
        self.targets = targets_from(self.dataset.images)
        wanted = {target.object_id for target in self.targets}
        self._models = object_points(self.dataset.models_dir, self.dataset.catalog, wanted)

    def mean(self, estimates: list[Estimate]) -> Mapping[str, float]:
        """Return the figures of estimates, means over the objects."""
        return report.evaluate(self.dataset, self.targets, estimates, self._models).mean
