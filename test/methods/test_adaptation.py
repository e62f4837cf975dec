"""Networks that go on with photographs: where the mapping starts, what is stored, when it is applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from pose_estimation_ros.cli.adapt import main
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.methods.base import LoadContext, import_object
from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.networks.attention_net import Comparison
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.training.adaptation import Adaptation, adapted_network
from pose_estimation_ros.training.trial import TINY

from .contract.case import CPU, Case, fingerprint, make_case

MODELS = Path(__file__).parents[2] / "models"
ABLE = [  # to gain from photographs; hands gain from depth images
    name
    for name, item in methods().items()
    if item.kind != "hands" and item.training is not None and item.training.adaptation is not None
]
RECIPE = {
    "samples": 64,
    "optimiser": {"batch": 8, "learning_rate": 0.01, "warmup_samples": 0, "ema_samples": 8},
    "bank": dict(TINY["bank"]),
    "photos": {"min_visibility": 0.1},
}


@pytest.fixture(scope="module", params=ABLE)
def case(request: pytest.FixtureRequest, tiny_bop: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    made = make_case(methods()[request.param], tiny_bop, tmp_path_factory.mktemp(request.param))
    chosen = {"backend": "nobody", "refiner": "none"}
    scores = tuple(
        ScoreEntry(**names, detector="mask_rcnn", intercept=0.0, terms={}, networks={})
        for names in (chosen | {made.method.kind: request.param}, chosen)
    )
    save_bundle(replace(made.bundle, scores=scores))
    return replace(made, bundle=load_bundle(made.bundle.path))


def adaptation_of(case: Case) -> Adaptation:
    assert case.method.training is not None and case.method.training.adaptation is not None
    return import_object(case.method.training.adaptation)


def adapted(case: Case, tmp_path: Path, *options: str, recipe: dict[str, Any] | None = None) -> Bundle:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe or RECIPE))
    arguments = [
        "--bundle",
        case.bundle.path,
        "--photos",
        case.mesh_dir.parent,
        f"--{case.method.kind}",
        case.method.name,
    ]
    arguments += ["--out", tmp_path / "adapted", "--work-dir", tmp_path / "run", "--config", tmp_path / "recipe.yaml"]
    assert main([str(item) for item in [*arguments, *options]]) == 0
    return load_bundle(tmp_path / "adapted")


def network_inputs(case: Case, size: int) -> list[Tensor]:
    """Return what the method's network takes beside whether images are real."""
    if case.method.kind == "backend":
        return [torch.rand(3, 3, size, size), torch.tensor([0, 1, 0])]
    (stage, *_) = case.load().trace(case.views[0].frame, case.views[0].hypotheses)
    few = torch.full((len(stage.observed),), 5.0), torch.full((len(stage.observed),), 1.3)
    return [stage.observed, stage.rendered, *few]


def what_it_says(output: Any) -> Tensor:
    return output.axis_angle if isinstance(output, Comparison) else output[0]


def found(case: Case, bundle: Bundle, domain: str) -> list[Any]:
    settings = resolve_run(bundle).methods[case.method.name].model_copy(update={"domain": domain})
    instance = case.method.make(LoadContext(bundle, CPU, settings, case.mesh_dir))
    return fingerprint(case.run(instance, case.views[0]))


def test_a_fresh_mapping_changes_nothing(case: Case) -> None:
    adaptation = adaptation_of(case)
    entry = case.bundle.network(adaptation.role)
    network, architecture = adapted_network(case.bundle, adaptation.role, adaptation.network, True)
    plain = case.bundle.load_network(adaptation.role, adaptation.network, CPU)
    inputs = network_inputs(case, entry.input_size)
    with torch.inference_mode():
        expected = what_it_says(plain(*inputs))
        for is_real in (False, True):
            torch.testing.assert_close(what_it_says(network.eval()(*inputs, is_real=is_real)), expected)
    assert architecture["mapping"] and not entry.architecture.get("mapping", False)


def test_what_is_learned_from_photographs_is_stored_and_applied_to_them_alone(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    role = adaptation_of(case).role
    before = (case.bundle.path / "bundle.yaml").read_text()
    bundle = adapted(case, tmp_path)
    entry = bundle.network(role)
    assert entry.architecture["mapping"] is True
    record = entry.training["adaptation"]
    assert record["images"] == "3 photographs with 6 annotated objects, and renderings" and record["finished"]
    assert entry.training["recipe"] == case.bundle.network(role).training["recipe"]
    assert (case.bundle.path / "bundle.yaml").read_text() == before
    assert found(case, bundle, "real") != found(case, bundle, "synthetic")
    assert found(case, case.bundle, "real") == found(case, case.bundle, "synthetic")
    assert [item.backend for item in bundle.scores] == ["nobody"]
    assert "pose_calibrate" in capsys.readouterr().out


def test_a_short_training_is_worth_its_samples(case: Case, tmp_path: Path) -> None:
    """With the warm-up and the average of a long one the weights would be those of the start."""
    recipe = {**RECIPE, "optimiser": {"batch": 8, "learning_rate": 0.01}}
    bundle = adapted(case, tmp_path, recipe=recipe)
    weights = bundle.weights(adaptation_of(case).role)
    assert weights["mapping.levels.0.0.leave.weight"].abs().max() > 1e-3


def test_plain_fine_tuning_has_no_mapping(case: Case, tmp_path: Path) -> None:
    bundle = adapted(case, tmp_path, "--set", "mapping=false", "--images", "2", "--minutes", "0.01")
    entry = bundle.network(adaptation_of(case).role)
    assert entry.architecture["mapping"] is False and entry.training["adaptation"]["images"].startswith("2 photographs")
    assert found(case, bundle, "real") == found(case, bundle, "synthetic")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--backend", "unseen"],
            "backend unseen: cannot be adapted; expected --backend one of corners, heatmaps, nemo, ",
        ),
        (["--refiner", "none"], "refiner none: cannot be adapted; expected --refiner one of attention"),
        (["--images", "7"], "--images 7: expected 1 to 3"),
        (["--minutes", "0"], "--minutes 0: expected a positive number"),
        (["--set", "wieghts.features=1"], "unknown key 'wieghts'; did you mean 'weights'"),
        (["--set", "samples=5", "--set", "samples.x=3"], "samples has no keys"),
        (["--out", "."], "--out .: exists already"),
    ],
)
def test_mistakes_are_one_line(
    case: Case, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    arguments = ["--bundle", str(case.bundle.path), "--photos", str(case.mesh_dir.parent)]
    if options[0] not in ("--backend", "--refiner"):
        arguments += [f"--{case.method.kind}", case.method.name]
    assert main([*arguments, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pose_adapt: error: ") and message in line


def test_a_failed_adaptation_leaves_no_copy(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "copy"
    arguments = ["--bundle", case.bundle.path, "--photos", case.mesh_dir.parent]
    arguments += [f"--{case.method.kind}", case.method.name]
    arguments += ["--out", out, "--mesh-dir", tmp_path / "nowhere", "--work-dir", tmp_path / "run"]
    assert main([str(item) for item in arguments]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", sorted(path.parent.name for path in MODELS.glob("*/bundle.yaml")))
def test_shipped_bundles_can_go_on_with_the_recipes_that_made_them(name: str) -> None:
    """Keys that are renamed have to be renamed there, too."""
    recipes = {item.training.role: item.training.recipe_model() for item in methods().values() if item.training}
    for role, entry in load_bundle(MODELS / name).networks.items():
        if role in recipes:
            recipes[role].model_validate(entry.training["recipe"])


def test_photographs_are_spread_evenly(tiny_bop: Path) -> None:
    from pose_estimation_ros.cli.adapt import chosen_images

    images = BopDataset(tiny_bop).images * 20
    picked = chosen_images(images, "10:40", 3)
    assert [images.index(item) for item in picked] == [images.index(images[number]) for number in (15, 25, 35)]
