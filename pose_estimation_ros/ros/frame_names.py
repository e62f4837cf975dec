"""Names of the objects' frames on TF."""

from __future__ import annotations

AUTO = "auto"


def frame_prefix(setting: str, namespace: str) -> str:
    """Return what stands before the objects' frames.

    Args:
        setting: the parameter `frame_prefix`; `auto` is the namespace, so that nodes in two namespaces do not collide.
        namespace: of the node, such as `/left`.
    """
    if setting != AUTO:
        return setting
    name = namespace.strip("/")
    return f"{name}/" if name else ""


def child_frame(prefix: str, name: str, track_id: int) -> str:
    """Return the TF frame of a tracked object: `<prefix><name>_<track id>`."""
    return f"{prefix}{name}_{track_id}"


def frame_on_object(object_frame: str, name: str) -> str:
    """Return the TF frame of a place on an object; the slash keeps it apart from all frames of objects."""
    return f"{object_frame}/{name}"
