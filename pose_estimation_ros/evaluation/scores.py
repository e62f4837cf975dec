"""Scores per object and over a data set, from the errors of all targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pose_estimation_ros.evaluation import metrics
from pose_estimation_ros.evaluation.localisation import TargetErrors, match, matched_errors
from pose_estimation_ros.evaluation.metrics import ObjectPoints

_FIVE_CM, _FIVE_DEG = 0.05, np.radians(5.0)


def score_objects(results: Sequence[TargetErrors], models: dict[int, ObjectPoints]) -> dict[int, dict[str, float]]:
    """Return the scores of every object that a target asks for."""
    ids = sorted({item.target.object_id for item in results})
    return {
        object_id: score_targets([item for item in results if item.target.object_id == object_id], models)
        for object_id in ids
    }


def score_targets(results: Sequence[TargetErrors], models: dict[int, ObjectPoints]) -> dict[str, float]:
    """Return the scores of a set of targets; recalls count every instance asked for, found or not.

    Returns:
        `instances`, `found` (share with an estimate at all), `add_s_0_1d`, `add_0_1d`, `adi_0_1d`, `projection_5px`,
        `5cm_5deg`, `ar_mssd`, `ar_mspd`, `ar_vsd` (NaN without depth), `ar` (mean of those three, or of the first two),
        `auc_add`, `auc_adi`, `auc_add_s` (percent, 10 cm), rotation scores, `median_translation_m`.
    """
    diameters = [models[item.target.object_id].diameter_m for item in results]
    flat = {name: _collect(results, name) for name in ("add", "adi", "add_s", "rotation", "translation")}
    scores: dict[str, float] = {
        "instances": sum(item.target.instances for item in results),
        "found": float(np.isfinite(flat["translation"]).mean()),
    }
    for name in ("add_s", "add", "adi"):
        limits = [metrics.ADD_SHARE * diameter for diameter in diameters]
        scores[f"{name}_0_1d"] = _recall([item.errors[name] for item in results], limits, results)
    scores["projection_5px"] = _recall(
        [item.errors["projection"] for item in results], [metrics.PROJECTION_PX] * len(results), results
    )
    scores["5cm_5deg"] = _recall([_pose_error(item) for item in results], [1.0] * len(results), results)
    scores |= _average_recalls(results, diameters)
    for name in ("add", "adi", "add_s"):
        scores[f"auc_{name}"] = metrics.area_under_curve(flat[name])
    scores |= metrics.rotation_scores(flat["rotation"])
    symmetric = metrics.rotation_scores(_collect(results, "rotation_symmetric"))
    scores |= {f"{key}_symmetric": value for key, value in symmetric.items()}
    scores["median_translation_m"] = float(np.median(flat["translation"]))
    return scores


def mean_scores(objects: dict[int, dict[str, float]]) -> dict[str, float]:
    """Return the unweighted mean over objects of every score; `instances` is summed."""
    names = next(iter(objects.values())).keys() if objects else ()
    mean = {name: float(np.mean([item[name] for item in objects.values()])) for name in names}
    return mean | {"instances": sum(item["instances"] for item in objects.values())}


def target_rows(results: Sequence[TargetErrors], models: dict[int, ObjectPoints]) -> list[dict[str, Any]]:
    """Return one row of errors per instance asked for; None where there is no estimate."""
    rows = []
    for item in results:
        owner = match(item.errors["mssd"], np.inf)
        for column, row in enumerate(owner):
            entry: dict[str, Any] = {
                "scene_id": item.target.scene_id,
                "image_id": item.target.image_id,
                "object_id": item.target.object_id,
                "visibility": item.truths[column].visibility,
                "score": item.estimates[row].score if row >= 0 else None,
            }
            for name, values in item.errors.items():
                value = float(values[row, column]) if row >= 0 else float("inf")
                entry[name] = value if np.isfinite(value) else None
            share = entry["add_s"] / models[item.target.object_id].diameter_m if entry["add_s"] is not None else None
            rows.append(entry | {"add_s_diameters": share})
    return rows


def _collect(results: Sequence[TargetErrors], name: str) -> np.ndarray:
    return np.concatenate([matched_errors(item, name) for item in results]) if results else np.zeros(0)


def _pose_error(item: TargetErrors) -> np.ndarray:
    """Return the larger of translation / 5 cm and rotation / 5 degrees: below one is correct."""
    return np.maximum(item.errors["translation"] / _FIVE_CM, item.errors["rotation"] / _FIVE_DEG)


def _recall(errors: Sequence[np.ndarray], limits: Sequence[float], results: Sequence[TargetErrors]) -> float:
    asked = sum(item.target.instances for item in results)
    hits = sum(int((match(values, limit) >= 0).sum()) for values, limit in zip(errors, limits, strict=True))
    return hits / asked if asked else float("nan")


def _average_recalls(results: Sequence[TargetErrors], diameters: list[float]) -> dict[str, float]:
    mssd = [
        _recall([item.errors["mssd"] for item in results], [share * size for size in diameters], results)
        for share in metrics.BOP_SHARES
    ]
    mspd = [
        _recall([item.errors["mspd"] for item in results], [limit] * len(results), results) for limit in metrics.MSPD_PX
    ]
    scores = {"ar_mssd": float(np.mean(mssd)), "ar_mspd": float(np.mean(mspd)), "ar_vsd": float("nan")}
    if results and all(item.vsd is not None for item in results):
        vsd = [
            _recall([item.vsd[..., tau] for item in results], [theta] * len(results), results)  # type: ignore[index]
            for tau in range(len(metrics.BOP_SHARES))
            for theta in metrics.BOP_SHARES
        ]
        scores["ar_vsd"] = float(np.mean(vsd))
    parts = [scores[name] for name in ("ar_mssd", "ar_mspd", "ar_vsd")]
    return scores | {"ar": float(np.nanmean(parts))}
