"""pose_frames: place frames on the objects of a bundle, such as where they are grasped, on a page in the browser."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from pose_estimation_ros.frame_editing.session import FrameSession
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, load_bundle
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.viser_page import add_server_options, page_server


def main(argv: list[str] | None = None) -> int:
    """Serve the page until an interrupt; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, OSError, ModuleNotFoundError) as error:  # BundleError is a ValueError
        print(f"pose_frames: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_frames", description=__doc__)
    parser.add_argument("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--object", metavar="NAME", help="begin with this one (default: the first)")
    parser.add_argument("--mesh-dir", type=Path, metavar="DIR", help="where the meshes are that the bundle lacks")
    add_server_options(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    bundle = load_bundle(arguments.bundle)
    names = [model.name for model in bundle.catalog]
    first = names[0] if arguments.object is None else arguments.object
    if first not in names:
        raise ValueError(f"--object {first!r}: not in bundle {bundle.name} (has: {', '.join(names)})")
    if not os.access(bundle.path, os.W_OK):
        raise PermissionError(f"{bundle.path / BUNDLE_FILE}: cannot be written; copy the bundle to a folder of yours")

    @cache
    def load(name: str) -> Mesh:
        return bundle.load_mesh(names.index(name), arguments.mesh_dir)

    load(first)
    with page_server("pose_frames", arguments.host, arguments.port) as server:
        from pose_estimation_ros.frame_editing.page import FramesPage

        session = FrameSession(bundle.path)
        FramesPage(server, session, load, names, first)
        _wait(session)


def _wait(session: FrameSession) -> None:
    """Wait for Ctrl-C; where something is not saved, warn, and wait for another one, which may come at once."""
    pressed: SimpleQueue[int] = SimpleQueue()
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.put(number))
    warned: list[str] = []
    try:
        while True:
            pressed.get()
            if session.unsaved == warned:
                return
            warned = session.unsaved
            print(
                f"pose_frames: not saved: {', '.join(warned)}; Save is on the page, another Ctrl-C drops them",
                file=sys.stderr,
                flush=True,
            )
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
