"""How methods are found: entry points of the group `pose_estimation_ros.methods`, our own and those of other packages.

A package adds a method with one line in its metadata, without a change here:

    [project.entry-points."pose_estimation_ros.methods"]
    telepathy = "my_package.telepathy:METHOD"
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from pose_estimation_ros.methods.base import Kind, Method, Training
from pose_estimation_ros.settings import nearest

GROUP = "pose_estimation_ros.methods"
NONE = "none"  # the refiner that leaves poses as they are
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def methods() -> Mapping[str, Method]:
    """Return all methods by name, sorted.

    A method that cannot be imported is left out with a warning; it must not take the others with it.

    Raises:
        ValueError: if two packages register one name, or nothing is registered: the package is not installed.
    """
    found: dict[str, Method] = {}
    origins: dict[str, str] = {}
    for point in sorted(set(entry_points(group=GROUP)), key=lambda item: (item.name, item.value)):
        method = _loaded(point)
        if method is None:
            continue
        if method.name in found and found[method.name] != method:
            raise ValueError(
                f"two methods are called {method.name!r}: {origins[method.name]} and {point.value}; uninstall one"
            )
        found[method.name], origins[method.name] = method, point.value
    if not found:
        raise ValueError(f"no entry points of the group {GROUP}: install the package (bash scripts/setup.sh)")
    return found


def _loaded(point: EntryPoint) -> Method | None:
    try:
        method = point.load()
    except Exception as error:  # whatever another package does wrong
        _log.warning("method %r of %s cannot be imported: %s", point.name, point.value, error)
        return None
    if not isinstance(method, Method):
        _log.warning("method %r of %s: is a %s, expected a Method", point.name, point.value, type(method).__name__)
        return None
    return method


def pipeline_methods() -> dict[str, Method]:
    """Return those methods by name that are stages of the pipeline of `pose_node`."""
    return {name: method for name, method in methods().items() if method.kind in ("detector", "backend", "refiner")}


def methods_of(kind: Kind) -> dict[str, Method]:
    """Return the methods of one kind by name."""
    return {name: method for name, method in methods().items() if method.kind == kind}


def choices(kind: Kind) -> tuple[str, ...]:
    """Return the names that users may choose from."""
    names = tuple(methods_of(kind))
    return (NONE, *names) if kind == "refiner" else names


def find_method(kind: Kind, name: str) -> Method:
    """Return a method by name.

    Raises:
        ValueError: if there is none of that kind; the message names the nearest one.
    """
    known = methods_of(kind)
    if name not in known:
        raise ValueError(f"{kind} = {name!r}: {nearest(name, choices(kind))}")
    return known[name]


def find_training(network: str) -> Training:
    """Return how a network is trained, by the network's role in bundles or by the method's name.

    Raises:
        ValueError: if nobody here trains it.
    """
    by_role = {training.role: training for method in methods().values() for training in method.trainings}
    by_method = {name: method.training for name, method in methods().items() if method.training is not None}
    if network not in by_role and network not in by_method:
        raise ValueError(f"network {network!r}: {nearest(network, trained_networks())}")
    return by_role.get(network) or by_method[network]


def trained_networks() -> tuple[str, ...]:
    """Return the roles of all networks that can be trained."""
    return tuple(sorted(training.role for method in methods().values() for training in method.trainings))
