"""What a bundle has that another one has not."""

from __future__ import annotations

from collections.abc import Mapping

from pose_estimation_ros.objects.bundle_file import FrameEntry, entry_from_object
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel


def same_objects(catalog: Catalog, other: Catalog) -> dict[int, int]:
    """Return the index in another catalog of every object that is the same there, by its index.

    Its id and its frames do not matter.
    """
    there = {model.name: index for index, model in enumerate(other)}
    found = {}
    for index, model in enumerate(catalog):
        match = there.get(model.name)
        if match is None:
            continue
        entries = [entry_from_object(item).model_dump(exclude={"id", "frames"}) for item in (model, other[match])]
        if entries[0] == entries[1]:
            found[index] = match
    return found


def differences(
    before: Catalog, after: Catalog, weights_before: Mapping[str, str], weights_after: Mapping[str, str]
) -> str:
    """Say which objects and weights were added, removed or changed.

    Args:
        before: the objects that were.
        after: the objects that are.
        weights_before: sha256 of the networks that were, by role.
        weights_after: of those that are.
    """
    old, new = ([model.name for model in catalog] for catalog in (before, after))
    pairs = same_objects(after, before)
    same = {after[index].name for index in pairs}
    moved = [after[here].name for here, there in pairs.items() if _frames(after[here]) != _frames(before[there])]
    parts = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and name not in same],
        "other frames": moved,
        "new weights": [role for role, digest in weights_after.items() if weights_before.get(role) != digest],
        "weights gone": [role for role in weights_before if role not in weights_after],
    }
    told = [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]
    return "; ".join([f"objects: {', '.join(new)}", *(told or ["nothing else changed"])])


def _frames(model: ObjectModel) -> dict[str, FrameEntry]:
    return entry_from_object(model).frames
