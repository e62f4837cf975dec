"""Write accepted labels as a data set in BOP layout, with masks and visibility from the meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop_writer import BopWriter, write_models_info
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.labels import Label
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.mesh_writing import write_mesh

SPLIT = "test"
_MM = 1000.0  # millimetres per metre


class LabelledDataset:
    """The data set that labels become; it is whole after every photograph.

    Args:
        folder: of the data set.
        catalog: the objects.
        meshes: of the objects.
        renderer: of these meshes.
    """

    def __init__(self, folder: Path, catalog: Catalog, meshes: Sequence[Mesh], renderer: EdgeRenderer) -> None:
        self.folder = folder
        self._catalog, self._meshes, self._renderer = catalog, meshes, renderer

    def write_models(self) -> None:
        """Write the meshes with their sizes and symmetries, where they are not there yet."""
        models = self.folder / "models"
        if (models / "models_info.json").is_file():
            return
        for model, mesh in zip(self._catalog, self._meshes, strict=True):
            write_mesh(models / f"obj_{model.object_id:06d}.ply", replace(mesh, vertices=mesh.vertices * _MM))
        write_models_info(self._catalog, models)

    def write(self, photo: Photo, frame: Frame, labels: Sequence[Label]) -> None:
        """Write a photograph with its accepted labels in place of what there was of it; one without any is left out.

        Objects whose labels are in doubt hide others, but are not annotated.
        """
        writer = BopWriter(self.folder, SPLIT, photo.scene_id, resume=True)
        if not any(label.verdict == "accept" for label in labels):
            if writer.remove(photo.image_id):
                writer.close()
            return
        self.write_models()
        there = [label for label in labels if label.verdict != "reject"]
        indices = [self._catalog.require_index(label.object_name) for label in there]
        depth = np.stack([
            self._renderer.draw(index, label.camera_from_object, frame.camera).depth
            for index, label in zip(indices, there, strict=True)
        ])  # fmt: skip
        masks = np.isfinite(depth)
        visible = masks & (depth <= depth.min(axis=0))
        chosen = [number for number, label in enumerate(there) if label.verdict == "accept"]
        poses = [(self._catalog[indices[number]].object_id, there[number].camera_from_object) for number in chosen]
        writer.add(
            frame.rgb,
            frame.camera,
            poses,
            visible[chosen],
            masks[chosen],
            image_id=photo.image_id,
            copy_of=photo.exact_file(frame),
        )
        writer.close()
