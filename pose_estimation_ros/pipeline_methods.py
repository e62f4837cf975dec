"""The methods of a pipeline: chosen by name or given ready made, checked against each other and the bundle, loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pose_estimation_ros.methods.base import Kind, LoadContext, LoadedMethod, Method
from pose_estimation_ros.methods.registry import NONE, find_method
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.pipeline_settings import RunSettings


def method_of(kind: Kind, choice: Any) -> Method | None:
    """Return the descriptor of a choice, None where it is "none" or an instance without one.

    Raises:
        ValueError: if it is a name and there is no such method.
    """
    if isinstance(choice, LoadedMethod):
        return choice.method
    return find_method(kind, choice) if isinstance(choice, str) and choice != NONE else None


def has_networks(bundle: Bundle, method: Method) -> bool:
    """Tell whether a bundle has all networks of a method."""
    return all(role in bundle.networks for role in method.roles)


def refuse_lacking_bundle(bundle: Bundle, choices: Iterable[tuple[Kind, Any]], mesh_dir: Path | None) -> None:
    """Say what a bundle lacks of what methods chosen by name need, before anything slow is loaded.

    Raises:
        BundleError: naming a network or a mesh that is not there.
    """
    for kind, choice in choices:
        method = method_of(kind, choice) if isinstance(choice, str) else None
        if method is None:
            continue
        for role in method.roles:
            bundle.network(role)
        for index in range(len(bundle.catalog) if method.needs_meshes else 0):
            bundle.mesh_path(index, mesh_dir)


def refuse_loose_boxes(detector: Method | None, backend: Method | None) -> None:
    """Refuse a backend that needs tighter boxes than the detector gives.

    Raises:
        ValueError: naming both.
    """
    if detector is not None and backend is not None and backend.tight_boxes and not detector.tight_boxes:
        raise ValueError(
            f"backend = {backend.name!r} needs boxes that end where the object ends, and detector.method = "
            f"{detector.name!r} only says about where it is; expected another backend or another detector"
        )


def loaded(kind: Kind, choice: Any, context: LoadContext, settings: RunSettings) -> Any:
    """Return a choice ready to run; a name is loaded from the bundle of the context, with its own settings."""
    if isinstance(choice, LoadedMethod):
        return choice.instance
    if not isinstance(choice, str):
        return choice
    method = find_method(kind, choice)
    return method.make(replace(context, settings=settings.methods[method.name]))
