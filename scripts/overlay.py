#!/usr/bin/env python3
"""Build the message packages of interfaces/ against the ROS 2 wheels of the virtual environment that runs this file.

The wheels' exported CMake targets name the Python and NumPy header folders of the machine that built them. CMake
refuses folders that do not exist, so those two paths are rewritten in the virtual environment first.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy

BUILDER_INCLUDES = re.compile(r'/opt/[^;"]*?/(?:(include/python3\.\d+)|(numpy/(?:_core|core)/include))')


def rewrite_include_folders(prefix: Path) -> int:
    """Point the wheels' exported CMake targets at this machine's Python and NumPy headers.

    Args:
        prefix: virtual environment whose share/*/cmake files are rewritten in place.

    Returns:
        The number of files changed.
    """
    python_include = sysconfig.get_paths()["include"]
    numpy_include = numpy.get_include()
    changed = 0
    for path in prefix.glob("share/*/cmake/*Export.cmake"):
        text = path.read_text()
        fixed = BUILDER_INCLUDES.sub(lambda hit: python_include if hit.group(1) else numpy_include, text)
        if fixed != text:
            path.write_text(fixed)
            changed += 1
    return changed


def build(source: Path, build_folder: Path, overlay: Path, jobs: int) -> None:
    """Configure, build and install one message package with CMake.

    Args:
        source: folder of the package with its CMakeLists.txt.
        build_folder: folder for intermediate files.
        overlay: installation prefix.
        jobs: parallel compilations.

    Raises:
        RuntimeError: if a CMake step fails; the message ends with the tail of its output.
    """
    prefix = Path(sys.prefix)
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{overlay}:{prefix}",
        "CMAKE_PREFIX_PATH": f"{overlay}:{prefix}",
        "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}",
    }
    configure = [
        "cmake",
        "-S", str(source),
        "-B", str(build_folder),
        f"-DCMAKE_INSTALL_PREFIX={overlay}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DPYTHON_EXECUTABLE={sys.executable}",
    ]  # fmt: skip
    for command in (configure, ["cmake", "--build", str(build_folder), "--target", "install", "-j", str(jobs)]):
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode != 0:
            tail = "\n".join(run.stdout.splitlines()[-40:])
            raise RuntimeError(f"{source.name}: `{' '.join(command[:4])} ...` failed with {run.returncode}:\n{tail}")


def main(argv: list[str] | None = None) -> int:
    """Build every package of interfaces/ into the overlay."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interfaces", type=Path, default=root / "interfaces", help="folder of message packages")
    parser.add_argument("--overlay", type=Path, default=root / ".overlay", help="installation prefix, replaced")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel compilations")
    arguments = parser.parse_args(argv)
    rewrite_include_folders(Path(sys.prefix))
    shutil.rmtree(arguments.overlay, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="overlay-") as scratch:
        for manifest in sorted(arguments.interfaces.glob("*/package.xml")):
            print(f"  building {manifest.parent.name}", flush=True)
            try:
                build(manifest.parent, Path(scratch) / manifest.parent.name, arguments.overlay, arguments.jobs)
            except RuntimeError as error:
                print(f"overlay: error: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
