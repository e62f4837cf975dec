"""The networks of a bundle that gets further objects: generic ones as they are, those of the earlier objects grown."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import Tensor

from pose_estimation_ros.methods.base import Kind
from pose_estimation_ros.methods.registry import find_training, methods_of, trained_networks
from pose_estimation_ros.objects.bounded_yaml import read_yaml
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError, find_bundle
from pose_estimation_ros.objects.bundle_file import BundleFile, NetworkEntry
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.training.growth import grown_weights

GENERIC = "generic"  # the bundle with networks for any object


def object_rows(role: str) -> Mapping[str, int] | None:
    """Return what of a network's weights depends on the objects; nothing of one that nobody here trains."""
    return find_training(role).object_rows if role in trained_networks() else {}


def is_generic(role: str) -> bool:
    """Tell whether a network is for any object."""
    rows = object_rows(role)
    return rows is not None and not rows


class GenericNetworks(NamedTuple):
    """A folder with networks for any object: a bundle, whose objects are nobody's and may be left out."""

    path: Path
    networks: dict[str, NetworkEntry]
    scores: tuple[ScoreEntry, ...] = ()  # calibrated with these networks


def generic_networks(name: str | Path, needed: bool) -> GenericNetworks | None:
    """Find the networks for any object.

    Args:
        name: folder of their bundle, or the name of a shipped one.
        needed: whether there has to be one; else None is returned where there is none.

    Raises:
        BundleError: if it is needed and not there, or has no generic network; or if its file is damaged.
    """
    try:
        path = find_bundle(name)
    except BundleError as error:
        if not needed:
            return None
        raise BundleError(
            f"--generic {name}: no networks for any object ({error}); expected a folder such as models/generic, or a "
            "bundle with a trained network `attention` (--generic lmo)"
        ) from error
    try:
        content = BundleFile.model_validate(read_yaml(path / BUNDLE_FILE))
    except (ValueError, yaml.YAMLError) as error:
        raise BundleError(f"{path / BUNDLE_FILE}: {error}") from error
    found = {role: entry for role, entry in content.networks.items() if is_generic(role)}
    if needed and not found:
        raise BundleError(f"--generic {name}: {path / BUNDLE_FILE} has no network for any object")
    return GenericNetworks(path, found, tuple(content.scores))


def copied_networks(generic: GenericNetworks, have: Collection[str], target: Path) -> dict[str, NetworkEntry]:
    """Copy the generic networks that a bundle lacks.

    Args:
        generic: where they are.
        have: roles of the networks that are there already.
        target: folder for the files.

    Raises:
        BundleError: if weights are missing or damaged.
    """
    found = {}
    for role, entry in generic.networks.items():
        if role in have:
            continue
        source = generic.path / entry.file
        content = source.read_bytes() if source.is_file() else b""
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BundleError(f"{source}: missing or damaged; expected the weights of {BUNDLE_FILE}, network {role!r}")
        name = f"{role}_{entry.sha256[:8]}.safetensors"
        (target / name).write_bytes(content)
        training = {**entry.training, "copied_from": generic.path.resolve().name}
        found[role] = entry.model_copy(update={"file": name, "training": training})
    return found


def grown_networks(bundle: Bundle, count: int, target: Path) -> tuple[dict[str, NetworkEntry], list[str]]:
    """Give the networks of a bundle room for further objects; the earlier ones are found as before.

    Args:
        bundle: as it was.
        count: objects that it is to have.
        target: folder for the files.

    Returns:
        The networks, and the roles of those that cannot grow and are left out.
    """
    networks, lost = dict(bundle.networks), []
    for role, entry in bundle.networks.items():
        rows = object_rows(role)
        if rows is None:
            lost.append(role)
            del networks[role]
        elif rows and count > len(bundle.catalog):
            state = grown_weights(bundle.weights(role), rows, len(bundle.catalog), count)
            networks[role] = _written(role, entry, state, count, target)
    return networks, lost


def _written(role: str, entry: NetworkEntry, state: Mapping[str, Tensor], count: int, target: Path) -> NetworkEntry:
    from safetensors.torch import save

    half = {
        key: value.to(torch.float16).contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in state.items()
    }
    content = save(half)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{role}_{digest[:8]}.safetensors"
    (target / name).write_bytes(content)
    architecture = {**entry.architecture, **({"classes": count} if "classes" in entry.architecture else {})}
    training = {**entry.training, "finished": False, "knows_objects": count}
    return entry.model_copy(
        update={"file": name, "sha256": digest, "architecture": architecture, "training": training, "metrics": {}}
    )


def untrained_method(kind: Kind, roles: Collection[str]) -> str | None:
    """Return a method that works with the generic networks among these roles alone; None where there is none."""
    usable = {role for role in roles if is_generic(role)}
    for name, method in methods_of(kind).items():
        if method.roles and usable.issuperset(method.roles):
            return name
    return None


def usable_detectors(bundle: Bundle) -> list[str]:
    """Return the detectors that were trained for the objects, and one for any object, as far as there are such."""
    names = []
    for name, method in methods_of("detector").items():
        entries = [bundle.networks.get(role) for role in method.roles]
        trained = all(entry is not None and "knows_objects" not in entry.training for entry in entries)
        if trained and method.training is not None and method.training.object_rows:
            names.append(name)
    untrained = untrained_method("detector", bundle.networks)
    return names if untrained is None else [*names, untrained]


def with_scores(bundle: Bundle, generic: GenericNetworks) -> Bundle:
    """Return a bundle that has the calibrated scores of the generic networks, where these are its networks too."""
    have = {(item.detector, item.backend, item.refiner) for item in bundle.scores}
    found = [item for item in generic.scores if (item.detector, item.backend, item.refiner) not in have]
    return replace(bundle, scores=(*bundle.scores, *(item for item in found if score_fits(item, bundle))))


def score_fits(score: ScoreEntry, bundle: Bundle) -> bool:
    """Tell whether a score was calibrated with the networks that a bundle has."""
    digests = {role: entry.sha256 for role, entry in bundle.networks.items()}
    return all(digests.get(role) == value for role, value in score.networks.items())


def with_settings(bundle: Bundle) -> Bundle:
    """Return a bundle whose settings choose methods that know all its objects at once."""
    settings = dict(bundle.settings)
    known = methods_of("backend").get(settings.get("backend", ""))
    if known is not None and not set(bundle.networks).issuperset(known.roles):
        del settings["backend"]  # its network could not learn further objects
    backend, detector = (untrained_method(kind, bundle.networks) for kind in ("backend", "detector"))
    if backend is not None:
        settings["backend"] = backend
    if detector is not None:
        settings["detector"] = {**settings.get("detector", {}), "method": detector}
    scores = tuple(item for item in bundle.scores if score_fits(item, bundle))
    return replace(bundle, settings=settings, scores=scores)
