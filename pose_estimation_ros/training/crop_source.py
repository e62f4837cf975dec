"""Where the crops of every training come from: the bank of views, backgrounds, and the weights they start with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes, mesh_files
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig, CropSource
from pose_estimation_ros.data.view_bank import ClusterConfig, ViewBank, build_view_bank
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle
from pose_estimation_ros.objects.bundle_file import entry_from_object
from pose_estimation_ros.training import processes
from pose_estimation_ros.training.batch_stream import Draw
from pose_estimation_ros.training.pretrained import load_pretrained

Network = TypeVar("Network", bound=nn.Module)
_background_pool = lru_cache(maxsize=1)(background_pool)  # it takes seconds, and trainings stop and go on
_BANK_FORMAT = "3"  # of the files that hold banks
_NOT_OF_VIEWS = {"backgrounds", "background_folder", "background_share", "background_px", "clutter_folder", "seed"}


class BankConfig(BaseModel):
    """The bank of views."""

    model_config = ConfigDict(extra="forbid")

    views: int = 1500
    clutter: int = 24
    clutter_views: int = 40
    size: int = 112
    backgrounds: int = 300
    background_folder: Path | None = None
    background_share: float = Field(default=0.5, ge=0.0, le=1.0)  # of all backgrounds that come from the folder
    background_px: int = Field(default=192, ge=16)  # side of a background
    clutter_folder: Path | None = None  # meshes of foreign objects, drawn from in place of made-up shapes
    cluster: ClusterConfig | None = None  # views that come together
    occlusion_rays: int = Field(default=48, ge=1)  # of every vertex
    seed: int | None = None  # of views, clutter and backgrounds; that of the recipe where absent


def load_bank(
    bundle: Bundle, config: BankConfig, seed: int, folder: Path, mesh_dir: Path | None, device: str
) -> ViewBank:
    """Build the bank of a bundle's objects, or read it from the folder where an earlier run left the same one."""
    paths = [path for index in range(len(bundle.catalog)) for path in bundle.instance_paths(index, mesh_dir)]
    identity = [
        _BANK_FORMAT,
        config.model_dump_json(exclude=_NOT_OF_VIEWS),
        bundle.pose_prior.model_dump_json(),
    ]
    identity += [entry_from_object(model).model_dump_json() for model in bundle.catalog]
    identity += [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] + [str(seed)]
    if config.clutter_folder is not None:
        identity += [hashlib.sha256(path.read_bytes()).hexdigest() for path in mesh_files(config.clutter_folder)]
    key = hashlib.sha256("".join(identity).encode()).hexdigest()[:16]
    file = folder / f"views_{key}.pt"

    def load() -> ViewBank:  # from the file, also what was just made: only what is drawn has to be in memory
        return ViewBank.load(file).to(device)

    def make() -> ViewBank:
        if not file.is_file():
            _make_bank(bundle, config, seed, mesh_dir, device).save(file)
        return load()

    return processes.made_by_first(make, load)


def _make_bank(bundle: Bundle, config: BankConfig, seed: int, mesh_dir: Path | None, device: str) -> ViewBank:
    instances = bundle.load_instances(mesh_dir)
    clutter = clutter_meshes(config.clutter, seed, config.clutter_folder)
    return build_view_bank(
        list(bundle.catalog),
        [mesh for meshes in instances for mesh in meshes],
        bundle.pose_prior,
        config.views,
        clutter,
        config.clutter_views,
        config.size,
        seed,
        device,
        [index for index, meshes in enumerate(instances) for _ in meshes],
        config.cluster,
        config.occlusion_rays,
    )


def open_bank(
    bundle: Bundle, config: BankConfig, recipe_seed: int, folder: Path, mesh_dir: Path | None, device: str
) -> tuple[ViewBank, Tensor]:
    """Return the bank of views and the backgrounds, both on the device.

    The bank is kept in the folder `pix2pose` beside that of the training where there is one, so that all trainings of a
    bundle share it.
    """
    seed = recipe_seed if config.seed is None else config.seed
    beside = folder.parent / "pix2pose"
    bank = load_bank(bundle, config, seed, beside if beside.is_dir() else folder, mesh_dir, device)
    backgrounds = _background_pool(
        config.backgrounds, config.background_px, seed, config.background_folder, config.background_share
    )
    return bank, backgrounds.to(bank.surface.device)


def crop_maker(bank: ViewBank, backgrounds: Tensor, config: CropConfig, weights: Tensor) -> Draw[CropBatch]:
    """Return what makes training crops from a seed, for `batch_stream`."""
    source = CropSource(bank, backgrounds, config, weights=weights)

    def draw(seed: int, samples: int) -> CropBatch:
        source.generator.manual_seed(seed)
        return source.batch(samples)

    return draw


def object_weights(bundle: Bundle, by_name: dict[str, float]) -> Tensor:
    """Return how often each object is drawn, shape (O,), 1 where nothing is said.

    Raises:
        ValueError: if a name is not in the catalog or a weight is not positive.
    """
    weights = torch.ones(len(bundle.catalog))
    for name, weight in by_name.items():
        index = bundle.catalog.index_of_name(name)
        if index is None or not weight > 0.0:
            raise ValueError(f"object_weights: {name} = {weight!r}: expected a known object and a positive number")
        weights[index] = weight
    return weights


def build_network(make: Callable[..., Network], *fixed: Any, **architecture: Any) -> Network:
    """Build a network as a recipe wants it.

    Raises:
        ValueError: if the recipe's `network` has a key that the network does not know.
    """
    try:
        return make(*fixed, **architecture)
    except TypeError as error:
        raise ValueError(f"network = {architecture}: {error}") from error


def refuse_arguments(network: Mapping[str, Any], taken: Mapping[str, str]) -> None:
    """Refuse arguments of a network that are not the recipe's to give.

    Args:
        network: what the recipe says under `network`.
        taken: what each of them follows from instead.

    Raises:
        ValueError: if one is given.
    """
    for key, instead in taken.items():
        if key in network:
            raise ValueError(f"network.{key} = {network[key]!r}: not to be given here, it {instead}")


def load_matching(network: nn.Module, bundle_name: str, role: str, prefix: str = "") -> set[str]:
    """Copy from a bundle's network all weights whose names and shapes fit (of other objects: all but their own).

    Args:
        network: where to.
        bundle_name: name or folder of the bundle.
        role: its network.
        prefix: copy only weights whose names begin so.

    Returns:
        The names of the weights that were copied.

    Raises:
        ValueError: if none fits.
    """
    state = load_bundle(find_bundle(bundle_name)).weights(role)
    own = network.state_dict()
    fitting = {
        key: value
        for key, value in state.items()
        if key.startswith(prefix) and key in own and own[key].shape == value.shape
    }
    if not fitting:
        raise ValueError(f"bundle {bundle_name!r}: no weights of its network {role!r} fit this network")
    network.load_state_dict(fitting, strict=False)
    return set(fitting)


def load_start(
    network: nn.Module,
    bundle: Bundle,
    role: str,
    encoder_from: str | None,
    initial: str | None,
    pretrained: str | None = None,
    frozen: bool = False,
) -> dict[str, str]:
    """Load the weights that a training starts from: those of the encoder, then what an earlier network had.

    Args:
        network: where to; an attribute `frozen` says whether its encoder is to stay as it came.
        bundle: has the other network, or has not.
        role: what this network is in bundles.
        encoder_from: name of the other network that the encoder comes from.
        initial: name of the bundle with the earlier network, if any.
        pretrained: public weights of the encoder, see `load_pretrained`; in place of the other network.
        frozen: whether the encoder is to stay as it came, whatever the network says.

    Returns:
        What is known of the public weights that the encoder's weights go back to, to be kept in the bundle.

    Raises:
        ValueError: if an encoder is of another kind than the one it is to be, or is to stay as it came, and nothing
            comes with one that fits.
        OSError: if public weights cannot be read.
    """
    loaded: set[str] = set()
    public: dict[str, str] = {}
    kind = getattr(getattr(network, "encoder", None), "kind", None)
    if pretrained is not None:
        public = load_pretrained(network.get_submodule("encoder"), pretrained)
        loaded = {key for key in network.state_dict() if key.startswith("encoder.")}
    elif encoder_from is not None and encoder_from in bundle.networks:
        refuse_other_encoder(bundle, encoder_from, kind, f"encoder_from = {encoder_from!r}")
        loaded = load_matching(network, str(bundle.path), encoder_from, "encoder.")
        public = public_weights(bundle, encoder_from)
    if initial is not None:
        other = load_bundle(find_bundle(initial))
        refuse_other_encoder(other, role, kind, f"initial = {initial!r}")
        loaded |= load_matching(network, initial, role)
        public = public_weights(other, role) or public
    missing = [key for key in network.state_dict() if key.startswith("encoder.") and key not in loaded]
    if (frozen or getattr(network, "frozen", False)) and missing:
        why = "encoder_rate = 0" if frozen else "network.frozen = true"
        earlier = "" if initial is None else f", nor has network {role!r} of bundle {initial!r}"
        raise ValueError(
            f"{why}: bundle {bundle.name!r} has no network {encoder_from!r} with an encoder that fits ({missing[0]})"
            f"{earlier}; train it first, take its widths, take pretrained weights, or let the encoder learn"
        )
    return public


def encoder_kind(bundle: Bundle, role: str) -> str:
    """Return of what kind the encoder of a network is."""
    return bundle.network(role).architecture.get("encoder", "own")


def refuse_other_encoder(bundle: Bundle, role: str, kind: str | None, where: str) -> None:
    """Refuse a network whose encoder is of another kind.

    Args:
        bundle: has the network.
        role: its name.
        kind: of the encoder that its weights are wanted for; None where there is no encoder.
        where: what in the recipe names the network.

    Raises:
        ValueError: if the kinds differ.
    """
    theirs = encoder_kind(bundle, role)
    if kind not in (None, theirs):
        raise ValueError(
            f"{where}: network {role!r} of bundle {bundle.name!r} has encoder {theirs!r}, this one has {kind!r}; "
            f"expected network: {{encoder: {theirs}}}, or another start (encoder_from: null, pretrained: imagenet)"
        )


def public_weights(bundle: Bundle, role: str) -> dict[str, str]:
    """Return what a bundle says of the public weights that the encoder of a network goes back to, if any."""
    return bundle.network(role).training.get("public_weights", {})
