"""Weights of every method survive being written and read; what is missing, damaged or misfit is refused by name."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle, BundleError, load_bundle, save_weights

from .case import Case, fingerprint, methods_that

with_networks = methods_that(lambda method: method.roles)


@pytest.fixture
def copied(case: Case, tmp_path: Path) -> Bundle:
    """Return a copy of the bundle to spoil."""
    shutil.copytree(case.bundle.path, tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


def results(case: Case, bundle: Bundle) -> list:
    instance = case.load(bundle)
    return [fingerprint(case.run(instance, view)) for view in case.views]


def rewritten(bundle: Bundle, role: str, state: dict, **architecture: object) -> Bundle:
    entry = bundle.network(role)
    return save_weights(bundle, role, state, entry.architecture | architecture, entry.input_size, entry.training)


@with_networks
def test_weights_that_are_written_and_read_change_nothing(case: Case, copied: Bundle):
    """They are half precision in the file, so that what was read once is written without a loss."""
    again = copied
    for role in case.method.roles:
        state = copied.weights(role)
        again = rewritten(again, role, state)
        read = again.weights(role)
        assert set(read) == set(state)
        assert all(torch.equal(read[name], value) for name, value in state.items())
    assert results(case, load_bundle(again.path)) == results(case, case.bundle)


@with_networks
def test_weights_decide_what_is_found(case: Case, copied: Bundle):
    generator = torch.Generator().manual_seed(0)
    for role in case.method.roles:
        state = copied.weights(role)
        moved = {
            name: value * (1.0 + 0.5 * torch.rand(value.shape, generator=generator)) if "weight" in name else value
            for name, value in state.items()
        }
        copied = rewritten(copied, role, moved)
    assert results(case, copied) != results(case, case.bundle)


@with_networks
def test_missing_networks_are_named_with_the_command_that_trains_them(case: Case):
    for role in case.method.roles:
        others = {name: entry for name, entry in case.bundle.networks.items() if name != role}
        with pytest.raises(BundleError, match=f"no network '{role}'") as caught:
            case.load(replace(case.bundle, networks=others))
        command = re.search(r"pose_train --bundle (\S+) --network (\S+)", str(caught.value))
        assert command is not None and Path(command[1]) == case.bundle.path
        assert find_training(command[2]).role == role


@with_networks
def test_missing_and_damaged_files_are_named(case: Case, copied: Bundle):
    for role in case.method.roles:
        file = copied.path / copied.network(role).file
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=rf"{re.escape(str(file))}: sha256 .*the file is damaged"):
            case.load(copied)
        file.unlink()
        with pytest.raises(BundleError, match=rf"{re.escape(str(file))}: weights of network '{role}' not found"):
            case.load(copied)
        file.write_bytes(content)


@with_networks
def test_weights_of_another_network_are_refused(case: Case, copied: Bundle):
    for role in case.method.roles:
        state = copied.weights(role)
        without_first = {name: state[name] for name in sorted(state)[1:]}
        file = re.escape(str(copied.path / copied.network(role).file))
        with pytest.raises(BundleError, match=f"^{file}: .*do not fit .*architecture"):
            case.load(rewritten(copied, role, without_first))
        with pytest.raises(BundleError, match=f"^{re.escape(str(copied.path))}/.*no_such_argument"):
            case.load(rewritten(copied, role, state, no_such_argument=1))
        copied = rewritten(copied, role, state)


@methods_that(lambda method: method.needs_meshes)
def test_missing_meshes_are_named(case: Case, tmp_path: Path):
    with pytest.raises(BundleError, match=re.escape(str(tmp_path / case.bundle.catalog[0].mesh))):
        case.load(mesh_dir=tmp_path)


@methods_that(lambda method: not method.needs_meshes)
def test_methods_that_need_no_meshes_load_without(case: Case, tmp_path: Path):
    instance, view = case.load(mesh_dir=tmp_path), case.views[0]
    assert fingerprint(case.run(instance, view)) == fingerprint(case.run(case.load(), view))
