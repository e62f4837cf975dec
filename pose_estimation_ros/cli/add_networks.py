"""The networks of a bundle that gets further objects: generic ones as they are, those of the earlier objects grown."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pose_estimation_ros.methods.base import Kind
from pose_estimation_ros.methods.registry import methods, methods_of
from pose_estimation_ros.objects.bundle import Bundle, BundleError, find_bundle, load_bundle
from pose_estimation_ros.objects.bundle_file import NetworkEntry
from pose_estimation_ros.training.growth import grown_weights

GENERIC = "generic"  # the bundle with networks for any object


def object_rows(role: str) -> Mapping[str, int] | None:
    """Return what of a network's weights depends on the objects; nothing of one that nobody here trains."""
    for method in methods().values():
        if method.training is not None and method.training.role == role:
            return method.training.object_rows
    return {}


def is_generic(role: str) -> bool:
    """Tell whether a network is for any object."""
    rows = object_rows(role)
    return rows is not None and not rows


def generic_bundle(name: str | Path, needed: bool) -> Bundle | None:
    """Load the bundle of generic networks.

    Args:
        name: its folder, or the name of a shipped bundle.
        needed: whether there has to be one; else None is returned where there is none.

    Raises:
        BundleError: if it is needed and not there, or has no generic network.
    """
    try:
        path = find_bundle(name)
    except BundleError as error:
        if not needed:
            return None
        raise BundleError(
            f"--generic {name}: no bundle of networks for any object ({error}); expected a folder such as "
            "models/generic, or a bundle with a trained network `attention` (--generic lmo)"
        ) from error
    bundle = load_bundle(path)
    if needed and not any(is_generic(role) for role in bundle.networks):
        raise BundleError(f"--generic {name}: {path} has no network for any object")
    return bundle


def copied_networks(generic: Bundle, have: Collection[str], target: Path) -> dict[str, NetworkEntry]:
    """Copy the generic networks that a bundle lacks.

    Args:
        generic: has them.
        have: roles of the networks that are there already.
        target: folder for the files.

    Raises:
        BundleError: if weights are missing or damaged.
    """
    found = {}
    for role, entry in generic.networks.items():
        if role in have or not is_generic(role):
            continue
        generic.weights(role)  # whole?
        name = f"{role}_{entry.sha256[:8]}.safetensors"
        shutil.copyfile(generic.path / entry.file, target / name)
        training = {**entry.training, "copied_from": generic.name}
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


def with_settings(bundle: Bundle) -> Bundle:
    """Return a bundle whose settings choose methods that know all its objects at once."""
    settings = dict(bundle.settings)
    backend, detector = (untrained_method(kind, bundle.networks) for kind in ("backend", "detector"))
    if backend is not None:
        settings["backend"] = backend
    if detector is not None:
        settings["detector"] = {**settings.get("detector", {}), "method": detector}
    digests = {role: entry.sha256 for role, entry in bundle.networks.items()}
    scores = tuple(
        item for item in bundle.scores if all(digests.get(role) == value for role, value in item.networks.items())
    )
    return replace(bundle, settings=settings, scores=scores)
