"""Measure which features find an object's rotation in a table of its rendered views.

    python benchmarks/coarse_search.py --bundle models/lmo --bop ../shared/data/lmo --image-step 2
    python benchmarks/coarse_search.py --bundle models/lmo --mesh-dir ../shared/data/lmo/models --renders 240

For encoders and their maps at every stride: in how many ground-truth boxes a view within 20 degrees of the truth, no
matter which of its symmetric rotations, is among the most similar ones. `--renders` takes renderings composed as for
training, of views that no bank has, in place of images.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.synthetic import CropConfig, CropSource
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.evaluation.run import true_poses, truth_detections
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.methods.render_compare import RenderCompare
from pose_estimation_ros.methods.unseen.settings import UnseenSettings
from pose_estimation_ros.methods.view_table import look_at_boxes
from pose_estimation_ros.methods.view_tables import ViewTables
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.object_tensors import catalog_symmetries
from pose_estimation_ros.training.pretrained import load_pretrained

CPU = torch.device("cpu")
SEED = 4321  # no recipe uses it
NEAR_DEG = 20.0
RANKS = (1, 5, 20)
Maps = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Seen:
    """One object as a camera sees it that is turned to its box."""

    object_index: int
    image: Tensor  # (3, S, S)
    rotation: Tensor  # (3, 3) of the object, in the axes of that camera
    log_aspect: Tensor


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/lmo")
    parser.add_argument("--bop", type=Path)
    parser.add_argument("--image-step", type=int, default=2, help="every so many images")
    parser.add_argument("--renders", type=int, default=0, help="so many renderings in place of images")
    parser.add_argument("--mesh-dir", type=Path, help="meshes (default: models/ of the data set)")
    parser.add_argument("--every-rotation", action="store_true", help="not only those within the pose prior")
    parser.add_argument("--only", nargs="*", help="encoders, such as lite0")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/coarse_search.py")
    bundle = load_bundle(arguments.bundle)
    mesh_dir = arguments.mesh_dir or (arguments.bop / "models" if arguments.bop else None)
    settings = UnseenSettings(every_rotation=arguments.every_rotation, max_table_mb=1000.0)
    comparison = RenderCompare.load(bundle, "attention", CPU, mesh_dir)
    if arguments.renders:
        seen = list(of_renders(bundle, mesh_dir, arguments.renders))
    else:
        seen = list(of_images(bundle, BopDataset(arguments.bop, "test"), arguments.image_step))
    rows = Rows()
    for name, maps in encoders(bundle, comparison).items():
        if arguments.only and name not in arguments.only:
            continue
        for level in range(len(maps(seen[0].image[None]))):
            began = time.process_time()
            encode = partial(level_of, maps, level)
            tables = ViewTables(comparison, bundle.catalog, bundle.pose_prior, settings, encode, settings.channels)
            tables.make()
            cost = (time.process_time() - began) / len(tables)
            recall = np.mean([found(bundle, tables, item, maps, level, settings) for item in seen], axis=0)
            cells = {f"top_{rank}": float(value) for rank, value in zip(RANKS, recall, strict=True)}
            size = max(tables[index].nbytes for index in range(len(tables))) / 1e6
            stride = 4 * 2**level
            rows.add(encoder=name, stride=stride, views=len(tables[0].rotation), **cells, megabytes=size, load_s=cost)
    if arguments.result:
        write_result(arguments.result, origin, {"boxes": len(seen), "rows": rows}, SEED)


def level_of(maps: Maps, level: int, images: Tensor) -> Tensor:
    """Return one of the maps of images."""
    return maps(images)[level]


def encoders(bundle: Bundle, comparison: RenderCompare) -> dict[str, Maps]:
    """Return what makes maps, finest first, of images (B, 3, S, S)."""
    lite = EfficientNetLite0(4)
    load_pretrained(lite, "imagenet")
    lite.eval()
    attention = comparison.network
    assert isinstance(attention, AttentionNet), "expected variant compact"
    pix2pose = bundle.load_network("pix2pose", Pix2PoseNet, CPU)
    return {"attention": attention.features, "pix2pose": pix2pose.encoder, "lite0": lite}


@torch.inference_mode()
def found(
    bundle: Bundle, tables: ViewTables, item: Seen, maps: Maps, level: int, settings: UnseenSettings
) -> list[bool]:
    """Tell for every rank whether a view near the truth is among so many."""
    table = tables[item.object_index]
    similarity = table.similarity(maps(item.image[None])[level], item.log_aspect[None], settings.aspect_weight)[0]
    same = item.rotation @ catalog_symmetries(bundle.catalog)[item.object_index, :, :3, :3].float()
    cosine = (torch.einsum("sij,vij->vs", same, table.rotation).amax(dim=1) - 1.0) / 2.0
    near = cosine > math.cos(math.radians(NEAR_DEG))
    order = similarity.argsort(descending=True)
    return [bool(near[order[:rank]].any()) for rank in RANKS]


def of_images(bundle: Bundle, dataset: BopDataset, step: int) -> Iterator[Seen]:
    """Yield what ground-truth boxes of images show."""
    for image in dataset.images[::step]:
        frame, targets = dataset.frame(image), targets_from([image])
        pixels = torch.from_numpy(frame.rgb).permute(2, 0, 1).float() / 255.0
        intrinsics = torch.from_numpy(frame.camera.intrinsics).float()
        detections = truth_detections(image, targets, bundle.catalog)
        for detection, pose in zip(detections, true_poses(image, targets, bundle.catalog), strict=True):
            yield _seen(detection.object_index, pixels, intrinsics, detection.box, torch.from_numpy(pose).float())


def of_renders(bundle: Bundle, mesh_dir: Path | None, count: int) -> Iterator[Seen]:
    """Yield what true boxes of renderings show that are composed as for training."""
    models, meshes = list(bundle.catalog), bundle.load_meshes(mesh_dir)
    bank = build_view_bank(models, meshes, bundle.pose_prior, 60, clutter_meshes(12, SEED), 20, seed=SEED)
    config = CropConfig(size=128, padding=1.5, roll_deg=bundle.pose_prior.roll_deg, masked_share=0.0)
    source = CropSource(bank, background_pool(60, seed=SEED), config, seed=SEED)
    for _ in range(count // 16):
        batch = source.batch(16)
        pixels = project_points(bank.outline[batch.mesh_index], batch.camera_from_object, batch.camera)
        boxes = torch.cat([pixels.amin(dim=1), pixels.amax(dim=1)], dim=1).double().numpy()
        for row in range(len(batch)):
            yield _seen(
                int(batch.object_index[row]),
                batch.images[row].float() / 255.0,
                batch.camera[row],
                boxes[row],
                batch.camera_from_object[row],
            )


def _seen(index: int, image: Tensor, intrinsics: Tensor, box: np.ndarray, pose: Tensor) -> Seen:
    view = look_at_boxes(image, intrinsics, box[None])
    return Seen(index, view.images[0], view.virtual_from_camera[0] @ pose[:3, :3], view.log_aspect[0])


if __name__ == "__main__":
    main()
