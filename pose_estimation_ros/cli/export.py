"""pose_export: write the networks of a bundle for other runtimes, and check that they say the same there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from pose_estimation_ros.cli.settings_options import add_settings_option, settings_of
from pose_estimation_ros.methods.base import LoadContext, Method, import_object
from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.networks.onnx_file import NetworkExport, largest_difference, require_onnx, write_onnx
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline_methods import has_networks
from pose_estimation_ros.pipeline_settings import RunSettings

LIMIT = 1e-3  # of the largest relative difference


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        require_onnx()
        bundle = load_bundle(arguments.bundle)
        settings = settings_of(arguments, bundle)
        exported = networks_of(bundle, settings, arguments.method)
        arguments.onnx.mkdir(parents=True, exist_ok=True)
        with use_precision("float32"):  # what runs the files chooses its own
            differences = [_write(network, arguments.onnx) for network in exported]
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_export: error: {error}", file=sys.stderr)
        return 2
    print(f"largest relative difference: {max(differences):.1e}, expected below {LIMIT:g}")
    return 0 if max(differences) < LIMIT else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_export", description=__doc__)
    parser.add_argument("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    parser.add_argument("--onnx", type=Path, required=True, metavar="DIR", help="folder for one ONNX file per network")
    parser.add_argument("--method", action="append", default=[], metavar="NAME",
                        help="only the networks of this method, repeatable (default: of all that can)")  # fmt: skip
    add_settings_option(parser)
    return parser


def networks_of(bundle: Bundle, settings: RunSettings, wanted: list[str]) -> list[NetworkExport]:
    """Return the networks of the methods that are wanted, or of all for which the bundle has networks.

    Raises:
        ValueError: if there is no such method, it cannot be exported, or there is nothing to export.
        BundleError: if the bundle lacks the network of a method that is wanted.
    """
    known = {name: method for name, method in methods().items() if method.export is not None}
    for name in wanted:
        if name not in known:
            raise ValueError(f"--method {name}: expected one of {', '.join(known)}")
    chosen = [known[name] for name in wanted] or [item for item in known.values() if has_networks(bundle, item)]
    exported = {network.name: network for method in chosen for network in _exports(bundle, settings, method)}
    if not exported:
        raise ValueError(
            f"{bundle.path}: no network that can be exported; it has {', '.join(bundle.networks) or 'none'}"
        )
    return list(exported.values())


def _exports(bundle: Bundle, settings: RunSettings, method: Method) -> list[NetworkExport]:
    assert method.export is not None
    found: list[NetworkExport] = import_object(method.export)(
        LoadContext(bundle, torch.device("cpu"), settings.methods.get(method.name) or method.settings_model()())
    )
    return found


def _write(network: NetworkExport, folder: Path) -> float:
    """Write a network, say how far ONNX Runtime is from PyTorch, and return that."""
    file = folder / f"{network.name}.onnx"
    write_onnx(network, file)
    difference = largest_difference(network, file)
    shapes = {name: ("B", *map(str, value.shape[1:])) for name, value in network.inputs(1).items()}
    taken = ", ".join(f"{name} {'x'.join(shape)}" for name, shape in shapes.items())
    print(f"{file}: {taken}: largest relative difference {difference:.1e}", flush=True)
    return difference


if __name__ == "__main__":
    sys.exit(main())
