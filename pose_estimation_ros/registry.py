"""Tables of selectable classes, imported only when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def chosen_class(what: str, name: str, table: dict[str, str], also: tuple[str, ...] = ()) -> Any:
    """Import the class that a table has under a name.

    Args:
        what: what is chosen, for the error message.
        name: the choice.
        table: "module:Class" by name.
        also: names that the caller deals with itself, for the error message.

    Raises:
        ValueError: if the table has no such name.
    """
    if name not in table:
        raise ValueError(f"{what} = {name!r}: expected one of {', '.join([*also, *sorted(table)])}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
