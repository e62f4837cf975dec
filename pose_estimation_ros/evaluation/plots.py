"""Pictures of an evaluation: overlays, error curves and the worst failures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pose_estimation_ros.data.bop import BopDataset, BopImage
from pose_estimation_ros.evaluation import metrics
from pose_estimation_ros.evaluation.localisation import TargetErrors, match, matched_errors
from pose_estimation_ros.evaluation.metrics import ObjectPoints
from pose_estimation_ros.evaluation.reliability import reliability, scored_poses, write_reliability
from pose_estimation_ros.evaluation.report import Evaluation
from pose_estimation_ros.evaluation.silhouettes import Silhouettes
from pose_estimation_ros.rendering.drawing import save_picture

_TRUE, _GOOD, _BAD = (60, 220, 60), (60, 160, 255), (255, 70, 60)  # r g b
_WHITE = (255, 255, 255)
_TILE_PX, _TILES, _COLUMNS = 200, 24, 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_plots(
    folder: str | Path,
    dataset: BopDataset,
    evaluation: Evaluation,
    models: dict[int, ObjectPoints],
    names: dict[int, str],
) -> None:
    """Write `curves.png`, `reliability.png`, `worst.png` and `overlay/SCENE_IMAGE.jpg`.

    The true contour is green; the estimated one is blue where ADD(-S) is below 0.1 diameters, red elsewhere.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    silhouettes = Silhouettes(dataset.models_dir, dataset.catalog)
    _write_curves(folder / "curves.png", evaluation, models, names)
    scores, right = scored_poses(list(evaluation.targets), models)
    if len(scores):
        write_reliability(folder / "reliability.png", reliability(scores, right))
    images = {image.key: image for image in dataset.images}
    by_image: dict[tuple[int, int], list[TargetErrors]] = {}
    for item in evaluation.targets:
        by_image.setdefault((item.target.scene_id, item.target.image_id), []).append(item)
    for key, items in by_image.items():
        drawing = dataset.read_rgb(images[key])
        for item in items:
            _draw_target(drawing, images[key], item, models, silhouettes, names)
        save_picture(folder / "overlay" / f"{key[0]:06d}_{key[1]:06d}.jpg", drawing)
    save_picture(folder / "worst.png", _worst_failures(dataset, evaluation, models, names, silhouettes))


def _draw_target(
    drawing: np.ndarray,
    image: BopImage,
    item: TargetErrors,
    models: dict[int, ObjectPoints],
    silhouettes: Silhouettes,
    names: dict[int, str],
    label: bool = True,
) -> None:
    object_id = item.target.object_id
    for truth in item.truths:
        _contour(drawing, silhouettes.mask(object_id, truth.camera_from_object, image.camera), _TRUE)
    owner = match(item.errors["mssd"], np.inf)
    for column, row in enumerate(owner):
        if row < 0:
            continue
        share = item.errors["add_s"][row, column] / models[object_id].diameter_m
        color = _GOOD if share < metrics.ADD_SHARE else _BAD
        pose = item.estimates[row].camera_from_object
        mask = silhouettes.mask(object_id, pose, image.camera)
        _contour(drawing, mask, color)
        if label and mask.any():
            rows, columns = np.nonzero(mask)
            corner = int(columns.min()), int(rows.min()) - 4
            _text(drawing, f"{names.get(object_id, object_id)} {share:.2f}d", corner, color)


def _worst_failures(
    dataset: BopDataset,
    evaluation: Evaluation,
    models: dict[int, ObjectPoints],
    names: dict[int, str],
    silhouettes: Silhouettes,
) -> np.ndarray:
    """Tile close-ups of the targets with the largest ADD(-S) in diameters; at most a quarter without any pose."""
    ranked = []
    for item in evaluation.targets:
        shares = matched_errors(item, "add_s")[: len(item.truths)] / models[item.target.object_id].diameter_m
        ranked += [(float(share), index, item) for index, share in enumerate(shares) if share >= metrics.ADD_SHARE]
    ranked.sort(key=lambda entry: (-entry[0], -entry[2].truths[entry[1]].visibility))
    missing = [entry for entry in ranked if not np.isfinite(entry[0])][: _TILES // 4]
    chosen = ([entry for entry in ranked if np.isfinite(entry[0])][: _TILES - len(missing)]) + missing
    images = {image.key: image for image in dataset.images}
    tiles = []
    for share, index, item in chosen:
        image = images[item.target.scene_id, item.target.image_id]
        drawing = dataset.read_rgb(image)
        _draw_target(drawing, image, item, models, silhouettes, names, label=False)
        truth = item.truths[index]
        mask = silhouettes.mask(item.target.object_id, truth.camera_from_object, image.camera)
        tile = _close_up(drawing, mask)
        said = f"{share:.2f}d" if np.isfinite(share) else "no pose"
        _text(tile, f"{names.get(item.target.object_id, item.target.object_id)} {said}", (4, 14), _WHITE)
        _text(tile, f"image {image.image_id}, {100 * truth.visibility:.0f}% visible", (4, _TILE_PX - 6), _WHITE)
        tiles.append(tile)
    if not tiles:
        sheet = np.full((_TILE_PX, 3 * _TILE_PX, 3), 40, dtype=np.uint8)
        _text(sheet, "every pose is within 0.1 diameters", (20, _TILE_PX // 2), _WHITE)
        return sheet
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(_COLUMNS, len(tiles)))
    width = min(_COLUMNS, len(tiles))
    return np.concatenate([np.concatenate(tiles[i : i + width], axis=1) for i in range(0, len(tiles), width)])


def _close_up(drawing: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut the square around a mask with as much again around it, as (_TILE_PX, _TILE_PX, 3)."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return cv2.resize(drawing, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
    half = float(np.max([np.ptp(rows), np.ptp(columns), 20]))
    centre = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2.0
    scale = _TILE_PX / (2.0 * half)
    move = np.column_stack([scale * np.eye(2), _TILE_PX / 2.0 - scale * centre])
    return cv2.warpAffine(drawing, move, (_TILE_PX, _TILE_PX), flags=cv2.INTER_AREA, borderValue=(127, 127, 127))


def _write_curves(path: Path, evaluation: Evaluation, models: dict[int, ObjectPoints], names: dict[int, str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    share_axis, mspd_axis, histogram, visible_axis = figure.subplots(2, 2).ravel()
    pooled, visibility, correct = [], [], []
    for object_id in evaluation.objects:
        results = [item for item in evaluation.targets if item.target.object_id == object_id]
        shares = np.concatenate([matched_errors(item, "add_s") for item in results]) / models[object_id].diameter_m
        mspd = np.concatenate([matched_errors(item, "mspd") for item in results])
        label = names.get(object_id, str(object_id))
        _recall_curve(share_axis, shares, 0.5, label)
        _recall_curve(mspd_axis, mspd, 50.0, label)
        pooled.append(shares)
        for item in results:
            found = matched_errors(item, "add_s")[: len(item.truths)] / models[object_id].diameter_m
            visibility += [truth.visibility for truth in item.truths]
            correct += (found < metrics.ADD_SHARE).tolist()
    share_axis.axvline(metrics.ADD_SHARE, color="grey", linewidth=0.8)
    share_axis.set(xlabel="ADD(-S) threshold [diameters]", ylabel="recall", ylim=(0, 1), xlim=(0, 0.5))
    mspd_axis.set(xlabel="MSPD threshold [px at 640]", ylabel="recall", ylim=(0, 1), xlim=(0, 50))
    share_axis.legend(fontsize=8)
    every = np.concatenate(pooled)
    histogram.hist(np.clip(every, 0, 1.05), bins=np.arange(0, 1.11, 0.05))
    histogram.set(xlabel="ADD(-S) [diameters]; last bar: more than 1, or no pose", ylabel="instances")
    _visibility_bars(visible_axis, np.array(visibility), np.array(correct, dtype=bool))
    figure.savefig(path, dpi=120)


def _recall_curve(axis, errors: np.ndarray, limit: float, label: str) -> None:
    thresholds = np.linspace(0.0, limit, 201)
    axis.plot(thresholds, [(errors < threshold).mean() for threshold in thresholds], label=label, linewidth=1.2)


def _visibility_bars(axis, visibility: np.ndarray, correct: np.ndarray) -> None:
    edges = np.arange(0.0, 1.01, 0.2)
    bins = np.clip(np.digitize(visibility, edges) - 1, 0, len(edges) - 2)
    counts = np.bincount(bins, minlength=len(edges) - 1)
    hits = np.bincount(bins, weights=correct, minlength=len(edges) - 1)
    recall = np.divide(hits, counts, out=np.zeros(len(counts)), where=counts > 0)
    bars = axis.bar(edges[:-1] + 0.1, recall, width=0.18)
    axis.bar_label(bars, labels=[f"n={count}" for count in counts], fontsize=8)
    axis.set(xlabel="visible share of the object", ylabel="ADD(-S) recall at 0.1 d", ylim=(0, 1.05), xlim=(0, 1))


def _contour(drawing: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawing, contours, -1, color, 1, cv2.LINE_AA)


def _text(drawing: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    x, y = max(corner[0], 2), max(corner[1], 12)
    (width, height), base = cv2.getTextSize(text, _FONT, 0.4, 1)
    plate = drawing[max(y - height - 2, 0) : y + base, max(x - 2, 0) : x + width + 2]
    plate[:] = plate // 4
    cv2.putText(drawing, text, (x, y), _FONT, 0.4, color, 1, cv2.LINE_AA)
