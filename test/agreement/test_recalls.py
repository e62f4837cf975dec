"""Average recalls: the scripts of bop_toolkit and `evaluate` score the same result files alike."""

from __future__ import annotations

import json
import logging
import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.data.bop import TARGETS_FILE, BopDataset
from pose_estimation_ros.evaluation.bop_results import Estimate, read_results, write_results
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.report import Evaluation, evaluate
from pose_estimation_ros.evaluation.silhouettes import Silhouettes

from .conftest import HOW_TO, MM, TOLERANCE, near
from .renderer import Renderer

SHARES = np.arange(0.05, 0.51, 0.05)  # what eval_bop19_pose.py passes on for VSD and MSSD
PIXELS = np.arange(5, 51, 5)  # and for MSPD
RECALLS: dict[str, tuple[str, Sequence[float]]] = {  # error of bop_toolkit -> our score, thresholds
    "mssd": ("ar_mssd", SHARES),
    "mspd": ("ar_mspd", PIXELS),
    "vsd": ("ar_vsd", SHARES),
    "ad": ("add_s_0_1d", [0.1]),
    "add": ("add_0_1d", [0.1]),
    "proj": ("projection_5px", [5]),
}


class Scripts:
    """Runs scripts of bop_toolkit in this process, over a data set in folder/NAME and a result file beside it."""

    def __init__(self, bop: SimpleNamespace, folder: Path) -> None:
        self.folder = folder
        self.scripts = Path(bop.misc.__file__).parents[1] / "scripts"
        if not (self.scripts / "eval_calc_scores.py").is_file():
            pytest.skip(f"no scripts/ beside bop_toolkit_lib ({self.scripts}): use a clone of bop_toolkit; {HOW_TO}")

    def recalls(self, results: Path, error: str, thresholds: Sequence[float]) -> dict[int | str, float]:
        """Return the mean recall over the thresholds (and tolerances of VSD) by object id, and of `all` targets."""
        self._run(
            "eval_calc_errors.py", "--n_top=-1", f"--error_type={error}", f"--result_filenames={results.name}",
            f"--results_path={results.parent}", f"--datasets_path={self.folder}", "--num_workers=1",
        )  # fmt: skip
        errors = [str(path.relative_to(self.folder)) for path in self.folder.glob(f"{results.stem}/error={error}_*")]
        for threshold in thresholds:
            self._run(
                "eval_calc_scores.py", f"--error_dir_paths={','.join(errors)}", f"--datasets_path={self.folder}",
                f"--correct_th_{error}={threshold}",
            )  # fmt: skip
        files = [json.loads(file.read_text()) for path in errors for file in (self.folder / path).glob("scores_*.json")]
        assert len(files) == len(thresholds) * (len(SHARES) if error == "vsd" else 1)
        objects = {
            int(key): float(np.mean([file["obj_recalls"][key] for file in files])) for key in files[0]["obj_recalls"]
        }
        return {**objects, "all": float(np.mean([file["recall"] for file in files]))}

    def _run(self, script: str, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logging.root.manager, "disable", logging.WARNING)  # they log their parameters every time
            patch.setattr(sys, "argv", [script, *arguments, f"--eval_path={self.folder}"])
            runpy.run_path(str(self.scripts / script))


def _estimates(rng: np.random.Generator, dataset: BopDataset, most: int) -> list[Estimate]:
    """Return up to so many estimates near every instance, few of them good, in random order, some of equal score."""
    estimates = [
        Estimate(*image.key, truth.object_id, round(rng.random(), 1), near(rng, truth.camera_from_object, 0.01, 1.0))
        for image in dataset.images
        for truth in image.ground_truth
        for _ in range(rng.integers(0, most, endpoint=True))
    ]
    return [estimates[index] for index in rng.permutation(len(estimates))]


def _assert_same(evaluation: Evaluation, theirs: dict[int | str, float], score: str) -> None:
    assert evaluation.all[score] == pytest.approx(theirs["all"], abs=TOLERANCE)
    for object_id, scores in evaluation.objects.items():
        assert scores[score] == pytest.approx(theirs[object_id], abs=TOLERANCE)


@pytest.mark.parametrize("instances", [None, 1])
@pytest.mark.parametrize("seed", range(4))
def test_recalls_of_a_made_up_data_set_agree(
    seed: int,
    instances: int | None,
    bop: SimpleNamespace,
    tiny_bop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With measured depth, several instances of an object, and more of them than a target asks for."""
    place = tmp_path / "icbin"  # the one data set of bop_toolkit's list that has two objects
    place.mkdir()
    for child in tiny_bop.iterdir():
        (place / child.name).symlink_to(child)
    if instances is not None:
        asked = [entry | {"inst_count": instances} for entry in json.loads((place / TARGETS_FILE).read_text())]
        (place / TARGETS_FILE).unlink()
        (place / TARGETS_FILE).write_text(json.dumps(asked))
    dataset = BopDataset(place)
    camera, scene = dataset.images[0].camera, dataset.images[0].scene_id
    silhouettes = Silhouettes(dataset.models_dir, dataset.catalog)
    described, size = bop.dataset_params.get_split_params, (camera.width, camera.height)
    monkeypatch.setattr(
        bop.dataset_params,
        "get_split_params",
        lambda *names: described(*names) | {"scene_ids": [scene], "im_size": size},
    )
    monkeypatch.setattr(bop.renderer, "create_renderer", lambda *_, **__: Renderer(silhouettes, camera))

    results = tmp_path / "ours_icbin-test.csv"
    write_results(results, _estimates(np.random.default_rng(seed), dataset, most=4))
    estimates, models = read_results(results), object_points(dataset.models_dir, dataset.catalog, [1, 2])
    evaluation = evaluate(dataset, dataset.targets, estimates, models, render_depth=silhouettes.depth)
    scripts, recalls = Scripts(bop, tmp_path), []
    for error in ("vsd", "mssd", "mspd"):
        score, thresholds = RECALLS[error]
        theirs = scripts.recalls(results, error, thresholds)
        _assert_same(evaluation, theirs, score)
        recalls.append(theirs["all"])
    assert evaluation.all["ar"] == pytest.approx(np.mean(recalls), abs=TOLERANCE)
    assert 0.03 < evaluation.all["ar"] < 0.97


def test_recalls_of_real_images_agree(bop: SimpleNamespace, lmo: Path, tmp_path: Path) -> None:
    (tmp_path / "lmo").symlink_to(lmo.resolve())
    dataset = BopDataset(tmp_path / "lmo")
    results = tmp_path / "ours_lmo-test.csv"
    write_results(results, _estimates(np.random.default_rng(0), dataset, most=2))
    models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in dataset.targets})
    evaluation = evaluate(dataset, dataset.targets, read_results(results), models)
    scripts = Scripts(bop, tmp_path)
    for error, (score, thresholds) in RECALLS.items():
        if error != "vsd":  # no measured depth
            _assert_same(evaluation, scripts.recalls(results, error, thresholds), score)
            assert 0.1 < evaluation.all[score] < 0.9


def test_result_files_are_read_alike(bop: SimpleNamespace, tiny_bop: Path, tmp_path: Path) -> None:
    results = tmp_path / "ours_tiny-test.csv"
    written = [
        replace(item, time_s=0.25) for item in _estimates(np.random.default_rng(5), BopDataset(tiny_bop), most=2)
    ]
    write_results(results, written)
    theirs = bop.inout.load_bop_results(results)
    assert bop.inout.check_bop_results(results)[0]
    for ours, other in zip(read_results(results), theirs, strict=True):
        assert (ours.scene_id, ours.image_id, ours.object_id) == (other["scene_id"], other["im_id"], other["obj_id"])
        assert (ours.score, ours.time_s) == (other["score"], other["time"])
        np.testing.assert_array_equal(ours.camera_from_object[:3, :3], other["R"])
        np.testing.assert_allclose(ours.camera_from_object[:3, 3:] * MM, other["t"], rtol=0.0, atol=TOLERANCE)
