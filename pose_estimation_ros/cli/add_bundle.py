"""Write a bundle with further objects: all of it, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_estimation_ros.cli.add_networks import (
    GenericNetworks,
    copied_networks,
    grown_networks,
    with_scores,
    with_settings,
)
from pose_estimation_ros.cli.add_objects import Added
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, save_bundle
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh_writing import write_mesh
from pose_estimation_ros.objects.symmetry_search import ANY, turns
from pose_estimation_ros.rendering.contact_sheet import contact_sheet
from pose_estimation_ros.rendering.drawing import save_picture

MESHES, REPORT = "meshes", "report"
_MOST_TURNED = 8  # views of an object turned by its symmetries


def extended(
    path: Path, existing: Bundle | None, added: Sequence[Added], generic: GenericNetworks | None, prior: PosePrior
) -> tuple[Bundle, list[str]]:
    """Write a bundle with further objects; a failure or an interruption leaves what was there as it was.

    Args:
        path: its folder.
        existing: what is there.
        added: the objects, and those of the bundle that are changed; there may be none.
        generic: has networks for any object.
        prior: of a new bundle.

    Returns:
        The bundle, and the roles of networks that were left out because they cannot learn further objects.

    Raises:
        BundleError: if weights are missing or damaged.
        OSError: if something cannot be written, or a file has the place of a mesh.
    """
    known = {model.name: model for model in (existing.catalog if existing else ())}
    meshes = (existing.meshes if existing else None) or MESHES
    _refuse_taken(path / meshes, [item for item in added if item.model.name not in known])
    with _all_or_nothing(path) as folder:
        for item in added:
            if item.model.name not in known:
                write_mesh(folder / meshes / item.model.mesh, item.mesh)
            save_picture(folder / REPORT / f"{item.model.name}.png", object_sheet(item))
        models = list({**known, **{item.model.name: item.model for item in added}}.values())
        networks, lost = dict(existing.networks) if existing else {}, list[str]()
        if existing is not None and len(models) > len(known):
            networks, lost = grown_networks(existing, len(models), folder)
        if generic is not None:
            networks |= copied_networks(generic, networks, folder)
        licence = "Apache-2.0" if existing is None else existing.licence
        bundle = existing or Bundle(
            path, path.resolve().name, Catalog(tuple(models)), {}, prior, MESHES, licence=licence
        )
        bundle = replace(bundle, catalog=Catalog(tuple(models)), networks=networks)
        bundle = bundle if len(models) == len(known) else with_settings(bundle)
        bundle = bundle if generic is None else with_scores(bundle, generic)
        _move_in(folder, path)
        save_bundle(bundle)
    return bundle, lost


def _refuse_taken(folder: Path, new: Sequence[Added]) -> None:
    """Refuse to write over files that the bundle does not know, perhaps those that the meshes were read from.

    Raises:
        FileExistsError: naming the file.
    """
    for item in new:
        for file in (folder / item.model.mesh, (folder / item.model.mesh).with_suffix(".png")):
            if file.exists():
                raise FileExistsError(f"{file}: is there and belongs to no object; expected no file, move it elsewhere")


@contextmanager
def _all_or_nothing(path: Path) -> Iterator[Path]:
    """Give a folder for new files; where something goes wrong, what was moved from there is taken back.

    From the moment on that bundle.yaml is another one the bundle has the new objects, whatever comes after.
    """
    before = set(path.rglob("*")) if path.is_dir() else None
    said = _content(path / BUNDLE_FILE)
    path.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".add_", dir=path))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder)
        if _content(path / BUNDLE_FILE) != said:
            raise
        if before is None:
            shutil.rmtree(path)
        else:
            for item in sorted(set(path.rglob("*")) - before, reverse=True):
                item.rmdir() if item.is_dir() else item.unlink()
        raise
    shutil.rmtree(folder)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _move_in(folder: Path, path: Path) -> None:
    """Move new files to their places; pictures of changed objects take those of the earlier ones."""
    for file in sorted(item for item in folder.rglob("*") if item.is_file()):
        target = path / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def object_sheet(item: Added) -> np.ndarray:
    """Draw the picture of an object, (H, W, 3) uint8."""
    model, size = item.model, 0.75 * item.model.diameter_m
    lines = [
        (
            np.asarray(axis.point_m) - size * np.asarray(axis.axis),
            np.asarray(axis.point_m) + size * np.asarray(axis.axis),
        )
        for axis in item.axes
    ]
    turned = []
    for axis in item.axes:
        transforms = turns(axis)
        for number, transform in enumerate(transforms[:1] if axis.order != ANY else transforms[3:5]):
            share = 360.0 / axis.order if axis.order != ANY else (53.0, 71.0)[number]
            turned.append((f"turned {share:g} deg", transform))
    extents = " x ".join(f"{2000.0 * value:.0f}" for value in model.half_size_m)
    text = [f"{model.name}: {extents} mm, {len(item.mesh.faces):,} triangles", *item.words]
    return contact_sheet(item.mesh, model.diameter_m, lines, turned[:_MOST_TURNED], text)
