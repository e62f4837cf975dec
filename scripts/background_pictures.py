"""Collect pictures for the backgrounds of training images from packages of Debian: photographs, textures, prints.

    python scripts/background_pictures.py DIR

The packages are downloaded with apt-get and unpacked, not installed. Pictures that are small, nearly empty or nearly
the same as an earlier one are left out. They serve for training alone and are no part of any bundle. Their licences,
in /usr/share/doc/PACKAGE/copyright of each package: CC-BY-SA and GPL (games and desktops), Apache-2.0 and BSD
(opencv-doc, python3-skimage).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

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
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=scratch, check=True)
        for package in sorted(scratch.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "files")], check=True)
        for archive in sorted((scratch / "files").rglob("*.pk3")):
            zipfile.ZipFile(archive).extractall(archive.with_suffix(""))
        seen = np.zeros((0, 16 * 16 * 3), np.float32)
        for image in tqdm(_pictures(scratch / "files"), unit="picture", desc="pictures"):
            thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(1, -1)
            thumbnail -= thumbnail.mean()
            if len(seen) and np.abs(seen - thumbnail).mean(axis=1).min() < MIN_DIFFERENCE:
                continue
            cv2.imwrite(str(folder / f"{len(seen):04d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            seen = np.concatenate([seen, thumbnail])
    print(f"{folder}: {len(seen)} pictures")


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
    main(Path(sys.argv[1]))
