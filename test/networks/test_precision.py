"""Which number format networks run in."""

from __future__ import annotations

from threading import Thread

import pytest
import torch

from pose_estimation_ros.networks.precision import autocast, chosen_precision, runs_bfloat16, use_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSE_PRECISION", raising=False)


def processor(monkeypatch: pytest.MonkeyPatch, amx: bool = False, avx512: bool = False) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)


def product_type() -> torch.dtype:
    with autocast(CPU):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_bfloat16_is_used_where_the_processor_computes_in_it(monkeypatch, amx, avx512, expected):
    processor(monkeypatch, amx, avx512)
    assert runs_bfloat16(CPU) is expected
    assert product_type() == (torch.bfloat16 if expected else torch.float32)


def test_a_release_of_pytorch_that_cannot_tell_runs_in_float32(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not runs_bfloat16(CPU)


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
def test_a_choice_wins_over_the_processor_and_the_environment(monkeypatch, hardware, choice):
    processor(monkeypatch, avx512=hardware)
    monkeypatch.setenv("POSE_PRECISION", "float32" if choice == "bfloat16" else "bfloat16")
    with use_precision(choice):
        assert product_type() == getattr(torch, choice)
    assert product_type() != getattr(torch, choice)  # the environment's again


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
def test_the_environment_wins_over_the_processor(monkeypatch, hardware, choice):
    processor(monkeypatch, avx512=hardware)
    monkeypatch.setenv("POSE_PRECISION", choice)
    assert product_type() == getattr(torch, choice)


def test_what_is_not_wanted_in_bfloat16_stays_in_float32():
    with use_precision("bfloat16"), autocast(CPU, wanted=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_auto_leaves_the_choice_to_what_surrounds_it():
    with use_precision("float32"), use_precision("bfloat16"):
        with use_precision("auto"):
            assert chosen_precision() == "bfloat16"
        assert chosen_precision() == "bfloat16"
    assert chosen_precision() == "auto"


def test_a_choice_is_the_thread_s_own():
    seen = []
    with use_precision("bfloat16"):
        thread = Thread(target=lambda: seen.append(chosen_precision()))
        thread.start()
        thread.join()
    assert seen == ["auto"]


def test_the_choice_before_comes_back_after_an_error():
    with use_precision("float32"):
        with pytest.raises(KeyError), use_precision("bfloat16"):
            raise KeyError
        assert chosen_precision() == "float32"


def test_wrong_choices_are_refused_by_name(monkeypatch):
    with pytest.raises(ValueError, match="precision = 'half': expected one of auto, float32, bfloat16"):
        use_precision("half").__enter__()
    monkeypatch.setenv("POSE_PRECISION", "fp16")
    with pytest.raises(ValueError, match="POSE_PRECISION = 'fp16': expected one of auto, float32, bfloat16"):
        runs_bfloat16(CPU)
