"""bundle.yaml as a file: read with the name of what is wrong in it, written whole or not at all."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pose_estimation_ros.objects.bounded_yaml import read_yaml
from pose_estimation_ros.objects.bundle_file import BundleFile, object_from_entry
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.limits import MAX_YAML_BYTES

BUNDLE_FILE = "bundle.yaml"


class BundleError(ValueError):
    """A bundle is missing, damaged or incomplete; the message names the file and the field."""


def read_bundle_file(folder: Path) -> tuple[BundleFile, Catalog]:
    """Read and validate the bundle.yaml of a folder.

    Returns:
        What it says, and the objects that it describes.

    Raises:
        BundleError: naming the file, the field and the value that is wrong.
    """
    file = folder / BUNDLE_FILE
    try:
        parsed = BundleFile.model_validate(read_yaml(file))
        return parsed, Catalog(tuple(object_from_entry(entry) for entry in parsed.objects))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{file}: {where} = {_short(first.get('input'))}: {first['msg']}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise BundleError(f"{file}: {error}") from error


def _short(value: Any) -> str:
    """Return what a value looks like, on one line whatever its size."""
    return repr(value) if isinstance(value, (int, float)) else reprlib.repr(value)


def text_of(content: BundleFile) -> str:
    """Return a bundle.yaml that says this."""
    return yaml.safe_dump(content.model_dump(mode="json"), sort_keys=False, width=120, default_flow_style=None)


def write_bundle_text(folder: Path, text: str) -> None:
    """Write the bundle.yaml of a folder, replacing the old one only when the new one is complete.

    Raises:
        BundleError: if it is larger than what is read again.
        OSError: if it cannot be written.
    """
    content = text.encode()
    file = folder / BUNDLE_FILE
    if len(content) > MAX_YAML_BYTES:
        raise BundleError(f"{file}: would have {len(content):,} bytes: expected at most {MAX_YAML_BYTES:,}")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / (BUNDLE_FILE + ".part")
    temporary.write_bytes(content)
    temporary.replace(file)
