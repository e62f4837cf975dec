"""The images that pose_evaluate takes, and what it asks for in them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from copy import copy
from typing import TypeVar

from pose_estimation_ros.data.bop import BopDataset, BopTarget, read_targets
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog

Image = TypeVar("Image")


def open_dataset(arguments: argparse.Namespace) -> BopDataset:
    """Open the data set with the images that `--image-range` and `--images` leave.

    Raises:
        ValueError: if they leave none.
    """
    dataset = BopDataset(arguments.bop, arguments.split)
    if arguments.image_range is not None:
        dataset.images = slice_images(dataset.images, "--image-range", arguments.image_range)
    if arguments.images is not None:
        if arguments.images < 1:
            raise ValueError(f"--images {arguments.images}: expected at least 1")
        dataset.images = dataset.images[: arguments.images]
    return dataset


def part_of(dataset: BopDataset, number: int, count: int) -> BopDataset:
    """Return a data set with one of so many equal parts of the images."""
    part = copy(dataset)
    part.images = dataset.images[number::count]
    return part


def slice_images(images: list[Image], option: str, text: str) -> list[Image]:
    """Return the images that A:B[:STEP] names.

    Raises:
        ValueError: if the text is no range, or one without images.
    """
    try:
        parts = [int(part) if part else None for part in text.split(":")]
        chosen = images[slice(*parts)] if 2 <= len(parts) <= 3 else []
    except ValueError:
        chosen = []
    if not chosen:
        raise ValueError(f"{option} {text}: expected A:B[:STEP] within 0:{len(images)}")
    return chosen


def find_targets(
    arguments: argparse.Namespace, dataset: BopDataset, bundle: Bundle | None, objects: Collection[str] = ()
) -> tuple[list[BopTarget], list[str]]:
    """Return the targets of the chosen images and notes on what is left out.

    Args:
        arguments: of the command.
        dataset: with the chosen images.
        bundle: of whose objects the targets are; of any where absent.
        objects: names in the bundle that are looked for; all where empty.

    Raises:
        ValueError: if there are none, or a name is unknown.
    """
    everything = read_targets(arguments.targets) if arguments.targets else dataset.targets
    there = {image.key for image in dataset.images}
    targets = [target for target in everything if (target.scene_id, target.image_id) in there]
    notes = []
    if len(targets) < len(everything):
        notes.append(f"{len(everything) - len(targets)} of {len(everything)} targets are of other images")
    known: Catalog | None = bundle.catalog if bundle is not None else None
    if known is not None:
        missing = sorted({item.object_id for item in targets if known.index_of_id(item.object_id) is None})
        if missing:
            notes.append(f"objects that the bundle does not know are left out: {', '.join(map(str, missing))}")
        targets = [target for target in targets if target.object_id not in missing]
    asked = known.indices_of(objects) if known is not None else None
    if known is not None and asked is not None:
        targets = [target for target in targets if known.index_of_id(target.object_id) in asked]
        notes.append(f"only {', '.join(objects)} is looked for")
    if not targets:
        raise ValueError(f"{arguments.bop}: no targets in {len(there)} images; expected ground truth of known objects")
    return targets, notes
