"""Collect what training images are made of beside the objects: pictures for backgrounds and prints, meshes as clutter.

    python scripts/training_media.py runs/media

DIR/pictures: photographs, textures and prints from packages of Debian, which apt-get downloads and nothing installs.
Small pictures, nearly empty ones and those nearly the same as an earlier one are left out. Licences, in
/usr/share/doc/PACKAGE/copyright of each: CC-BY-SA and GPL (desktops and games), Apache-2.0 and BSD (opencv-doc,
python3-skimage).

DIR/meshes: the thousand random objects of the wheel `pybullet` (zlib licence), which pip downloads without installing.

All of it serves for training alone and is no part of any bundle. What is there already is left as it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

WHEEL = "pybullet==3.2.7"
MESHES = re.compile(r".*/random_urdfs/(\d+)/\1\.obj")
PACKAGES = (
    "plasma-workspace-wallpapers",
    "gnome-backgrounds",
    "mate-backgrounds",
    "ukui-wallpapers",
    "lomiri-wallpapers",
    "sway-backgrounds",
    "opencv-doc",
    "python3-skimage",
    "supertuxkart-data",
    "ufoai-textures",
)
SUFFIXES = {".jpg", ".jpeg", ".png"}
NOT_SEEN = ("_nm.", "_n.", "_gm.", "normal", "gloss", "specular", "screenshot", "mask")  # maps that are no colours
MIN_BYTES = 30_000
MIN_SIDE_PX = 200
SIDE_PX = 768  # shorter side of what is kept
MIN_DETAIL = 2.0  # mean Laplacian, grey levels, at 128 pixels
MIN_DIFFERENCE = 8.0  # mean difference of two thumbnails, grey levels


def main(folder: Path) -> None:
    """Fill the folder."""
    for name, collect in (("pictures", collect_pictures), ("meshes", collect_meshes)):
        target = folder / name
        if target.is_dir():
            print(f"{target}: there already")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            part = folder / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            print(f"{target}: {collect(part, Path(scratch))} files")
            part.rename(target)


def collect_meshes(folder: Path, scratch: Path) -> int:
    """Unpack the random objects of pybullet; return their number."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*download, "--dest", str(scratch), WHEEL], check=True)
    names = []
    for wheel in scratch.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if MESHES.fullmatch(name)]
            for name in names:
                (folder / Path(name).name).write_bytes(archive.read(name))
    return len(names)


def collect_pictures(folder: Path, scratch: Path) -> int:
    """Download and unpack the packages, and keep what is worth it; return the number of pictures."""
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=scratch, check=True)
    for package in sorted(scratch.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "files")], check=True)
    for path in sorted((scratch / "files").rglob("*.pk3")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.with_suffix(""))
    seen = np.zeros((0, 16 * 16 * 3), np.float32)
    for image in tqdm(_pictures(scratch / "files"), unit="picture", desc="pictures"):
        thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(1, -1)
        thumbnail -= thumbnail.mean()
        if len(seen) and np.abs(seen - thumbnail).mean(axis=1).min() < MIN_DIFFERENCE:
            continue
        cv2.imwrite(str(folder / f"{len(seen):04d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        seen = np.concatenate([seen, thumbnail])
    return len(seen)


def _pictures(root: Path) -> Iterator[np.ndarray]:
    for path in sorted(root.rglob("*")):
        name = path.name.lower()
        if path.suffix.lower() not in SUFFIXES or any(word in name for word in NOT_SEEN) or not path.is_file():
            continue
        if path.stat().st_size < MIN_BYTES:
            continue
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype != np.uint8 or image.ndim != 3 or min(image.shape[:2]) < MIN_SIDE_PX:
            continue
        if image.shape[2] == 4 and (image[..., 3] < 250).mean() > 0.05:
            continue
        image = image[..., :3]
        small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32).mean(axis=2)
        if np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean() < MIN_DETAIL:
            continue
        scale = SIDE_PX / min(image.shape[:2])
        yield cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1.0 else image


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIR")
    try:
        main(Path(sys.argv[1]))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"training_media.py: {error}; expected Debian or Ubuntu with apt-get, dpkg-deb and a network")
