"""Average precision of boxes: ours and that of pycocotools, which bop_toolkit's eval_bop22_coco.py calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.detection_ap import BoxDetection, BoxTruth, average_precision
from pose_estimation_ros.evaluation.report import box_truths

from .conftest import HOW_TO, TOLERANCE

Scores = dict[int, dict[str, float]]
BOX = np.array([0.0, 0.0, 20.0, 1.0])
AWAY = BOX + 100.0


@pytest.fixture(scope="session")
def coco() -> SimpleNamespace:
    """Import pycocotools, or skip."""
    reason = f"pycocotools cannot be imported: pip install pycocotools; {HOW_TO}"
    return SimpleNamespace(
        COCO=pytest.importorskip("pycocotools.coco", reason=reason).COCO,
        COCOeval=pytest.importorskip("pycocotools.cocoeval", reason=reason).COCOeval,
    )


def _their_scores(coco: SimpleNamespace, detections: Sequence[BoxDetection], truths: Sequence[BoxTruth]) -> Scores:
    """Score boxes as eval_bop22_coco.py does, with the defaults of COCOeval; objects without truth are left out."""
    images = {key: index for index, key in enumerate(sorted({item.image for item in [*truths, *detections]}), start=1)}
    objects = sorted({item.object_id for item in [*truths, *detections]})
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": index, "width": 640, "height": 480} for index in images.values()],
        "categories": [{"id": object_id, "name": str(object_id)} for object_id in objects],
        "annotations": [
            {
                "id": index,
                "image_id": images[item.image],
                "category_id": item.object_id,
                "bbox": _corner_and_size(item.box),
                "iscrowd": 0,
                # bop_toolkit's fork of pycocotools reads "ignore". The original overwrites it, but ignores what lies
                # outside the range of areas, for which BOP leaves the default, and uses the area for nothing else.
                "ignore": item.ignore,
                "area": -1 if item.ignore else 1,
            }
            for index, item in enumerate(truths, start=1)
        ],
    }
    truth.createIndex()
    found = [
        {
            "image_id": images[item.image],
            "category_id": item.object_id,
            "bbox": _corner_and_size(item.box),
            "score": item.score,
        }
        for item in detections
    ]
    evaluation = coco.COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # (thresholds, recalls, objects): all areas, 100 detections
    scores = {
        object_id: {"ap": float(precision[..., index].mean()), "ap50": float(precision[0, :, index].mean())}
        for index, object_id in enumerate(objects)
    }
    return {object_id: values for object_id, values in scores.items() if values["ap"] >= 0.0}


def _corner_and_size(box: np.ndarray) -> list[float]:
    return [*map(float, box[:2]), *map(float, box[2:] - box[:2])]


def _assert_same(ours: Scores, theirs: Scores) -> None:
    assert ours.keys() == theirs.keys()
    for object_id, scores in ours.items():
        assert scores == pytest.approx(theirs[object_id], abs=TOLERANCE)


def _random_boxes(rng: np.random.Generator) -> tuple[list[BoxDetection], list[BoxTruth]]:
    """Return boxes on a grid so coarse that overlaps equal thresholds, with scores of which several are equal."""

    def box(width: int = 14) -> np.ndarray:
        low = rng.integers(0, width - 2, size=2)
        return np.concatenate([low, rng.integers(low + 1, width)]).astype(float)

    truths, detections = [], []
    for image in [(1, 0), (1, 4), (2, 0)]:
        for object_id in (1, 2, 5):
            mine = [BoxTruth(image, object_id, box(), bool(rng.random() < 0.2)) for _ in range(rng.integers(0, 5))]
            near = [np.maximum(item.box + rng.integers(-1, 2, size=4) * [0, 0, 1, 1], 0.0) for item in mine]
            near = [item for item in near if (item[2:] > item[:2]).all()]
            boxes = [*near, *(item.box for item in mine[::2]), *(box() for _ in range(rng.integers(0, 4)))]
            truths += mine
            detections += [BoxDetection(image, object_id, round(float(rng.random()), 1), item) for item in boxes]
    return detections, truths


@pytest.mark.parametrize("seed", range(40))
def test_precision_of_made_up_boxes_agrees(seed: int, coco: SimpleNamespace) -> None:
    detections, truths = _random_boxes(np.random.default_rng(seed))
    _assert_same(average_precision(detections, truths), _their_scores(coco, detections, truths))


@pytest.mark.parametrize("twentieths", range(10, 21))
def test_overlaps_that_equal_a_threshold_are_counted_alike(twentieths: int, coco: SimpleNamespace) -> None:
    truths = [BoxTruth((1, 0), 1, BOX)]
    detections = [BoxDetection((1, 0), 1, 0.5, BOX * [1.0, 1.0, twentieths / 20, 1.0])]
    _assert_same(average_precision(detections, truths), _their_scores(coco, detections, truths))


@pytest.mark.parametrize("kind", ["full", "visible"])
def test_precision_on_real_images_agrees(kind: str, coco: SimpleNamespace, lmo: Path) -> None:
    """Boxes as `pose_evaluate` takes them from the annotations, those to be ignored included."""
    dataset, rng = BopDataset(lmo), np.random.default_rng(1)
    truths = box_truths(dataset, {target.object_id for target in dataset.targets}, kind)  # type: ignore[arg-type]
    detections = [
        BoxDetection(item.image, item.object_id, float(rng.random()), _moved(rng, item.box))
        for item in truths
        for _ in range(rng.integers(0, 3))
    ]
    detections += [
        BoxDetection(item.image, int(rng.choice([1, 5, 6, 8, 9])), float(rng.random() ** 2), _moved(rng, item.box))
        for item in truths[::3]
    ]
    ours, theirs = average_precision(detections, truths), _their_scores(coco, detections, truths)
    _assert_same(ours, theirs)
    assert any(item.ignore for item in truths)
    assert all(0.05 < scores["ap"] < scores["ap50"] < 0.95 for scores in ours.values())


def _moved(rng: np.random.Generator, box: np.ndarray) -> np.ndarray:
    size = np.tile(box[2:] - box[:2], 2)
    return box + rng.normal(size=4) * size * rng.choice([0.01, 0.05, 0.15])


def test_the_hundred_best_of_one_object_agree(coco: SimpleNamespace) -> None:
    truths = [BoxTruth((1, 0), 1, BOX), BoxTruth((1, 0), 1, AWAY)]
    detections = [BoxDetection((1, 0), 1, 0.9, BOX + 50.0) for _ in range(98)]
    detections += [BoxDetection((1, 0), 1, 0.5 - 0.1 * rank, box) for rank, box in enumerate((BOX, BOX + 50.0, AWAY))]
    _assert_same(average_precision(detections, truths), _their_scores(coco, detections, truths))


def test_beyond_a_hundred_boxes_of_several_objects_we_differ_on_purpose(coco: SimpleNamespace) -> None:
    """BOP's rule is the hundred best of an image; pycocotools counts them for every object by itself."""
    truths = [BoxTruth((1, 0), 1, BOX), BoxTruth((1, 0), 2, AWAY)]
    detections = [BoxDetection((1, 0), 1, 0.9, BOX) for _ in range(100)] + [BoxDetection((1, 0), 2, 0.5, AWAY)]
    ours, theirs = average_precision(detections, truths), _their_scores(coco, detections, truths)
    assert (ours[2]["ap"], theirs[2]["ap"]) == pytest.approx((0.0, 1.0))
    assert ours[1] == pytest.approx(theirs[1])
