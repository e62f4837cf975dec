"""Result files: figures together with what they were measured by; the documents' tables are made from them."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_estimation_ros.evaluation.machine import describe_machine
from pose_estimation_ros.networks.precision import VARIABLE

SIGNIFICANT_DIGITS = 5
_VARIABLES = ("OMP_NUM_THREADS", VARIABLE)  # of the environment, that change figures
# Options that change no figure, and how many words follow them.
_SILENT = {"--resume": 0, "--csv": 1, "--estimates": 1, "--write": 1}
_SOURCES = ("--", ".", ":!benchmarks/results", ":!*.md", ":!*.rst")  # what can change a number


@dataclass(frozen=True)
class Origin:
    """What figures are measured by; taken before they are, as `machine` says how busy it was."""

    command: str
    commit: str | None  # None outside a repository; with "+changes" where something is not committed
    date: str  # UTC
    machine: dict[str, Any]


def origin_of(program: str, argv: Sequence[str] | None = None, device: torch.device | None = None) -> Origin:
    """Describe the command that is about to measure.

    Args:
        program: as users call it, such as `pose_evaluate` or `python benchmarks/pnp.py`.
        argv: its arguments; those of this process where absent.
        device: where networks run.
    """
    arguments = sys.argv[1:] if argv is None else argv
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    chosen = [f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)]
    return Origin(
        shlex.join([*chosen, *program.split(), *_telling(arguments)]), _commit(), date, describe_machine(device)
    )


def _telling(arguments: Sequence[str]) -> list[str]:
    """Leave out options that change no figure: where results are kept, and that a run went on with them."""
    kept, left_out = [], 0
    for word in arguments:
        name, _, value = word.partition("=")
        if left_out:
            left_out -= 1
        elif name in _SILENT:
            left_out = 0 if value else _SILENT[name]
        else:
            kept.append(word)
    return kept


def add_result_option(parser: argparse._ActionsContainer) -> None:
    """Add `--result`."""
    parser.add_argument(
        "--result",
        type=Path,
        metavar="FILE",
        help="the figures with command, commit, machine and date as JSON, as benchmarks/results/ holds them",
    )


def write_result(path: Path, origin: Origin, figures: dict[str, Any], seed: int = 0) -> None:
    """Write a result file, replacing an old one only when the new one is complete.

    Args:
        path: the file.
        origin: what the figures were measured by.
        figures: numbers and texts, nested; infinite and undefined numbers become null.
        seed: of what was random.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    content = {**asdict(origin), "seed": seed, "figures": plain(figures, SIGNIFICANT_DIGITS)}
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    temporary.replace(path)


def plain(value: Any, digits: int | None = None) -> Any:
    """Return nested values as JSON takes them; what is infinite or undefined is None.

    Args:
        value: anything made of dictionaries, sequences, numbers and texts.
        digits: significant ones that numbers keep; all of them where absent.
    """
    if isinstance(value, dict):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, digits) for item in value]
    if isinstance(value, (np.floating, float)):
        rounded = float(value if digits is None else f"{value:.{digits}g}")
        return rounded if math.isfinite(rounded) else None
    return int(value) if isinstance(value, np.integer) else value


class Rows(list[dict[str, Any]]):
    """Rows of a table, printed one by one as they are measured."""

    def add(self, **cells: Any) -> None:
        """Append a row and print it, the first one with a heading."""
        if not self:
            print(f"| {' | '.join(cells)} |\n" + "|---" * len(cells) + "|")
        texts = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells.values())
        print(f"| {' | '.join(texts)} |", flush=True)
        self.append(cells)


def _commit() -> str | None:
    """Return the commit of the sources, or None where there is no repository."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", *_SOURCES)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"note: the commit is unknown: {error}", file=sys.stderr)
        return None
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
