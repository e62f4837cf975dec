"""Show the recorder's table in place on a terminal, and one line of it at a time in a log."""

from __future__ import annotations

import sys
from typing import TextIO


class LiveTable:
    """Collect the lines of a table that comes again and again, and show the newest.

    A table starts with a line that begins with `images`; the lines that follow are indented.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._in_place = self._stream.isatty()
        self._table: list[str] = []
        self._shown = 0  # lines on the terminal that the next table replaces

    def add(self, line: str) -> None:
        """Take one line."""
        if line.startswith("images"):
            self._show()
            self._table = [line]
        elif line.startswith("  ") and self._table:
            self._table.append(line)

    def close(self) -> None:
        """Show what is left, and leave it standing."""
        self._show()
        self._table, self._shown = [], 0

    def _show(self) -> None:
        if not self._table:
            return
        lines = [line[:160] for line in self._table]
        if self._in_place:
            up = f"\x1b[{self._shown}A" if self._shown else ""
            self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
            self._shown = len(lines)
        else:
            self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
