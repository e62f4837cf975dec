"""pose_board: print a board that tells pose_label where it is, and what stands on it, in photographs.

Writes the board in its real size (PDF, or PNG with its resolution) and its description beside it (YAML), to which
places of objects may be added.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import yaml

from pose_estimation_ros.cli.recipes import validated
from pose_estimation_ros.labelling.board import Board, BoardSettings

SUFFIXES = (".pdf", ".png")
_MARGIN_M = 0.005  # of white about the board
_LARGEST_M2 = 0.5  # of a board, 70 megapixels
_INCH_M = 0.0254
_DPI = 300


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.out.suffix not in SUFFIXES:
            raise ValueError(f"{arguments.out}: expected a name that ends in {' or '.join(SUFFIXES)}")
        description = arguments.out.with_suffix(".yaml")
        for path in (arguments.out, description):
            if path.exists():
                raise ValueError(f"{path}: exists already; expected a new name")
        names = ("columns", "rows", "square_m", "marker_m", "dictionary")
        settings = validated(BoardSettings, {name: getattr(arguments, name) for name in names}, "pose_board")
        if math.prod(settings.size_m) > _LARGEST_M2:
            size = "{:g} x {:g}".format(*settings.size_m)
            raise ValueError(f"a board of {size} m: expected at most {_LARGEST_M2:g} square metres, as A1 has")
        _draw(Board(settings), arguments.out)
        content = {name: getattr(settings, name) for name in names} | {"objects": []}
        description.write_text(yaml.safe_dump(content, sort_keys=False))
    except (ValueError, OSError) as error:
        print(f"pose_board: error: {error}", file=sys.stderr)
        return 2
    width, height = (1000.0 * side for side in settings.size_m)
    print(f"{arguments.out}: {width:g} x {height:g} mm; print it without scaling, and measure a square")
    print(description)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_board", description=__doc__)
    usual = BoardSettings()
    add = parser.add_argument
    add("out", type=Path, help="file to write, .pdf or .png")
    add("--columns", type=int, default=usual.columns, help="squares (default: %(default)s)")
    add("--rows", type=int, default=usual.rows, help="squares (default: %(default)s)")
    add("--square", dest="square_m", type=float, default=usual.square_m, help="side, metres (default: %(default)s)")
    add("--marker", dest="marker_m", type=float, default=usual.marker_m, help="side, metres (default: %(default)s)")
    add("--dictionary", default=usual.dictionary, help="of OpenCV's markers (default: %(default)s)")
    return parser


def _draw(board: Board, path: Path) -> None:
    """Write a board in its real size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = (side + 2.0 * _MARGIN_M for side in board.settings.size_m)
    figure = Figure(figsize=(width / _INCH_M, height / _INCH_M), dpi=_DPI)
    FigureCanvasAgg(figure)
    left, down = _MARGIN_M / width, _MARGIN_M / height
    axes = figure.add_axes((left, down, 1.0 - 2.0 * left, 1.0 - 2.0 * down))
    axes.imshow(board.picture(round(board.settings.square_m / _INCH_M * _DPI)), cmap="gray", interpolation="nearest")
    axes.set_aspect("auto")
    axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)


if __name__ == "__main__":
    sys.exit(main())
