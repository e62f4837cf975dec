"""Parameter files of nodes. Launch files look at them, too, so nothing here takes long to import."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml


def parameter_files(argv: Sequence[str]) -> list[Path]:
    """Return the parameter files of a command line."""
    return [Path(value) for word, value in pairwise(argv) if word == "--params-file"]


def refuse_files_for_other_nodes(files: Collection[Path], node: str) -> None:
    """Check that every parameter file has parameters for a node: rclpy passes over the others in silence.

    Args:
        files: that rclpy has read without complaint.
        node: its name with its namespace.

    Raises:
        ValueError: if a file has parameters for other nodes alone.
    """
    for file in files:
        names = list(_node_names(yaml.safe_load(file.read_text())))
        if names and not any(_matches(name, node) for name in names):
            raise ValueError(
                f"{file}: has parameters of {', '.join(names)} alone; expected some of {node} (or of all nodes: /**)"
            )


def _node_names(content: Any, prefix: str = "") -> Iterator[str]:
    """Find the names of nodes, which may be nested by namespace."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "ros__parameters":
                yield prefix or "/"
            else:
                yield from _node_names(value, f"{prefix}/{str(key).strip('/')}")


def _matches(name: str, node: str) -> bool:
    """Tell whether a node is meant: * stands for one part of its name, ** for any number of them."""
    parts = [{"*": r"/[^/]+", "**": r"(/[^/]+)*"}.get(part, "/" + re.escape(part)) for part in name[1:].split("/")]
    return re.fullmatch("".join(parts), node) is not None
