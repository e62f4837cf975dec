"""The bundle: a folder with everything a set of objects needs at run time.

`bundle.yaml` holds the objects and the networks; weights lie beside it as safetensors; meshes lie in `meshes/`
where their licence lets them be shipped, otherwise they are found in a `mesh_dir` that the user names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose_estimation_ros.objects.bundle_file import (
    BundleFile,
    NetworkEntry,
    PosePrior,
    entry_from_object,
)
from pose_estimation_ros.objects.bundle_text import (
    BUNDLE_FILE,
    BundleError,
    read_bundle_file,
    text_of,
    write_bundle_text,
)
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.limits import MAX_WEIGHTS_BYTES, read_bounded
from pose_estimation_ros.objects.mesh import Mesh, load_mesh
from pose_estimation_ros.objects.mesh_limits import refuse_files_outside
from pose_estimation_ros.objects.network_building import Network, build_network
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.shipped import shipped


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle."""

    path: Path
    name: str
    catalog: Catalog
    networks: dict[str, NetworkEntry]
    pose_prior: PosePrior
    meshes: str | None = "meshes"
    mesh_source: str = ""
    description: str = ""
    licence: str = "Apache-2.0"
    settings: dict[str, Any] = field(default_factory=dict)  # by method, what was chosen when it was trained
    scores: tuple[ScoreEntry, ...] = ()  # at most one of every detector, backend and refiner

    def mesh_path(self, index: int, mesh_dir: Path | None = None) -> Path:
        """Return the mesh file of an object.

        Raises:
            BundleError: if the file is not there; the message says where to get it.
        """
        return self._find_mesh(index, self.catalog[index].mesh, mesh_dir)

    def instance_paths(self, index: int, mesh_dir: Path | None = None) -> list[Path]:
        """Return the mesh files of an object or, several, of a category.

        Raises:
            BundleError: if a file is not there.
        """
        model = self.catalog[index]
        return [self._find_mesh(index, name, mesh_dir) for name in (model.mesh, *model.instances)]

    def _mesh_folder(self, mesh_dir: Path | None) -> Path | None:
        return mesh_dir if mesh_dir is not None else (self.path / self.meshes if self.meshes else None)

    def _find_mesh(self, index: int, name: Path, mesh_dir: Path | None) -> Path:
        folder = self._mesh_folder(mesh_dir)
        hint = f" {self.mesh_source}" if self.mesh_source else ""
        if folder is None:
            raise BundleError(
                f"{self.path / BUNDLE_FILE}: the meshes are not shipped with this bundle; give their folder as "
                f"mesh_dir (node) or --mesh-dir (commands).{hint}"
            )
        path = Path(folder) / name
        if not path.is_file():
            raise BundleError(f"{path}: mesh of {self.catalog[index].name!r} not found.{hint}")
        return path

    def load_meshes(self, mesh_dir: Path | None = None) -> list[Mesh]:
        """Load the meshes of all objects, metres.

        Raises:
            BundleError: if a file is not there.
            ValueError: if a mesh cannot be used, is not of the size that the catalog says, or names files outside
                its folder.
        """
        return [self.load_mesh(index, mesh_dir) for index in range(len(self.catalog))]

    def load_mesh(self, index: int, mesh_dir: Path | None = None) -> Mesh:
        """Load the mesh of an object, or the first one of a category, metres.

        Raises:
            BundleError: if the file is not there.
            ValueError: as `load_meshes`.
        """
        model = self.catalog[index]
        path = self.mesh_path(index, mesh_dir)
        return self._load(path, index, mesh_dir, None if model.instances else model.diameter_m)

    def _load(self, path: Path, index: int, mesh_dir: Path | None, diameter_m: float | None = None) -> Mesh:
        folder = self._mesh_folder(mesh_dir)
        assert folder is not None  # the file was found in it
        refuse_files_outside(path, folder)
        return load_mesh(path, self.catalog[index].mesh_unit, diameter_m)

    def load_instances(self, mesh_dir: Path | None = None) -> list[list[Mesh]]:
        """Load all meshes of every object and category, metres; the first of each is that of `load_meshes`.

        Raises:
            BundleError: if a file is not there.
            ValueError: if a mesh cannot be used.
        """
        first = self.load_meshes(mesh_dir)
        return [
            [mesh, *(self._load(path, index, mesh_dir) for path in self.instance_paths(index, mesh_dir)[1:])]
            for index, mesh in enumerate(first)
        ]

    def weights(self, role: str) -> dict[str, Tensor]:
        """Load the weights of a network in float32, after checking their sha256.

        Raises:
            BundleError: if the role is unknown, or the file is missing, damaged or too large.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        entry = self.network(role)
        path = self.path / entry.file
        if not path.is_file():
            raise BundleError(f"{path}: weights of network {role!r} not found; restore the file or run pose_train")
        try:
            content = read_bounded(path, MAX_WEIGHTS_BYTES)
        except ValueError as error:
            raise BundleError(str(error)) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise BundleError(
                f"{path}: sha256 {digest[:12]}…, expected {entry.sha256[:12]}… from {BUNDLE_FILE}; the file is damaged"
            )
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise BundleError(f"{path}: not a safetensors file: {error}") from error
        return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}

    def load_network(self, role: str, make: Callable[..., Network], device: torch.device) -> Network:
        """Make a network with its stored architecture and weights, on a device, ready for inference.

        Args:
            role: name of the network in the bundle.
            make: its class; called with the number of objects and the architecture.
            device: where it goes.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture.
        """
        entry = self.network(role)
        try:
            network = build_network(lambda: make(len(self.catalog), **entry.architecture), self.weights(role))
        except (TypeError, RuntimeError) as error:
            raise BundleError(f"{self.path / entry.file}: weights do not fit the architecture: {error}") from error
        return network.to(device).to(memory_format=torch.channels_last).eval()

    def network(self, role: str) -> NetworkEntry:
        """Return the entry of a network.

        Raises:
            BundleError: if the bundle has no such network.
        """
        if role not in self.networks:
            known = ", ".join(sorted(self.networks)) or "none"
            raise BundleError(
                f"{self.path / BUNDLE_FILE}: no network {role!r} (has: {known}); "
                f"train it with: pose_train --bundle {self.path} --network {role}"
            )
        return self.networks[role]


def find_bundle(name_or_path: str | Path) -> Path:
    """Resolve a folder, or the name of a shipped bundle, to the bundle's folder.

    Raises:
        BundleError: if there is none; the message lists the places searched.
    """
    given = Path(name_or_path).expanduser()
    candidates = [given, *(folder / given for folder in shipped("models"))]
    for candidate in candidates:
        if (candidate / BUNDLE_FILE).is_file():
            return candidate
    searched = ", ".join(str(candidate) for candidate in candidates)
    raise BundleError(f"bundle {str(name_or_path)!r}: no {BUNDLE_FILE} in {searched}")


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Read and validate a bundle.

    Raises:
        BundleError: naming the file, the field and the value that is wrong.
    """
    path = find_bundle(name_or_path)
    parsed, catalog = read_bundle_file(path)
    return Bundle(
        path=path,
        name=parsed.name,
        catalog=catalog,
        networks=parsed.networks,
        pose_prior=parsed.pose_prior,
        meshes=parsed.meshes,
        mesh_source=parsed.mesh_source,
        description=parsed.description,
        licence=parsed.licence,
        settings=parsed.settings,
        scores=tuple(parsed.scores),
    )


def save_bundle(bundle: Bundle) -> None:
    """Write bundle.yaml, replacing the old one only when the new one is complete."""
    parsed = BundleFile(
        name=bundle.name,
        description=bundle.description,
        licence=bundle.licence,
        meshes=bundle.meshes,
        mesh_source=bundle.mesh_source,
        pose_prior=bundle.pose_prior,
        objects=[entry_from_object(model) for model in bundle.catalog],
        networks=bundle.networks,
        settings=bundle.settings,
        scores=list(bundle.scores),
    )
    write_bundle_text(bundle.path, text_of(parsed))


def save_weights(
    bundle: Bundle,
    role: str,
    state: dict[str, Tensor],
    architecture: dict[str, Any],
    input_size: int,
    training: dict[str, Any],
    metrics: dict[str, Any] | None = None,
) -> Bundle:
    """Write a network's weights as fp16 safetensors and return the bundle that names them (also saved)."""
    from safetensors.torch import save

    half = {
        key: (
            value.detach().cpu().to(torch.float16) if value.is_floating_point() else value.detach().cpu()
        ).contiguous()
        for key, value in state.items()
    }
    content = save(half)
    bundle.path.mkdir(parents=True, exist_ok=True)
    file = bundle.path / f"{role}.safetensors"
    temporary = file.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(file)
    entry = NetworkEntry(
        file=file.name,
        sha256=hashlib.sha256(content).hexdigest(),
        architecture=architecture,
        input_size=input_size,
        training=training,
        metrics=metrics or {},
    )
    # Another training may have added its network to the same bundle meanwhile.
    current = load_bundle(bundle.path) if (bundle.path / BUNDLE_FILE).is_file() else bundle
    updated = replace(bundle, networks={**current.networks, role: entry}, scores=current.scores)
    save_bundle(updated)
    return updated


def save_score(path: Path, entry: ScoreEntry) -> Bundle:
    """Put a calibrated score into the bundle of a folder, in place of an earlier one of the same methods.

    Raises:
        BundleError: if there is no bundle, or it is damaged.
    """
    bundle = load_bundle(path)  # anew: a training may have added to it meanwhile
    methods = (entry.detector, entry.backend, entry.refiner)
    others = [item for item in bundle.scores if (item.detector, item.backend, item.refiner) != methods]
    updated = replace(bundle, scores=(*others, entry))
    save_bundle(updated)
    return updated
