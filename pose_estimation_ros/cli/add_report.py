"""What a bundle is worth in the end, and which of its detectors and backends are best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pose_estimation_ros.cli.add_growth import Look, growth_table
from pose_estimation_ros.cli.add_held_out import Outcome, held_out_scenes, pipelines, tried
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.rendering.drawing import save_picture

_SEED = 90_210  # of no training
MISSED = "(not found)"


def choose_methods(
    path: Path, scenes: int, photos: Path | None, device: str | None = None, looks: Sequence[Look] = ()
) -> Outcome:
    """Try the detectors and backends of a bundle on rendered scenes, let it use the best, and write its report.

    Args:
        path: of the bundle.
        scenes: how many scenes.
        photos: pictures as backgrounds.
        device: cpu or cuda; the better one that is there where absent.
        looks: how it went while the bundle was trained.

    Raises:
        ValueError: if a network cannot be loaded.
    """
    bundle = load_bundle(path)
    shown = list(islice(held_out_scenes(bundle, _SEED, photos), scenes))
    outcomes = [tried(pipeline, shown) for pipeline in pipelines(bundle, device)]
    if not outcomes:
        raise ValueError(f"{path}: no detector or no backend has its networks; train longer, or give --generic")
    best = max(outcomes, key=lambda item: item.quality)
    detector = {**bundle.settings.get("detector", {}), "method": best.detector}
    updated = replace(bundle, settings={**bundle.settings, "backend": best.backend, "detector": detector})
    save_bundle(updated)
    for number, picture in enumerate(best.pictures):  # no object has such a name
        save_picture(path / "report" / f"found-{number + 1}.png", picture)
    (path / "report" / "README.md").write_text(report_text(bundle, outcomes, best, looks))
    return best


def report_text(bundle: Bundle, outcomes: Sequence[Outcome], best: Outcome, looks: Sequence[Look] = ()) -> str:
    """Return the report as Markdown."""
    names = [model.name for model in bundle.catalog]
    lines = [
        f"# {bundle.name}",
        "",
        f"{best.scenes} rendered scenes that nothing was trained on. Found: the position is within 5 % of its",
        "distance. On photographs expect less.",
        "",
        "| detector | backend | found % | wrong poses an image | s an image |",
        "| --- | --- | --: | --: | --: |",
    ]
    lines += [
        f"| {item.detector} | {item.backend}{' (chosen)' if item is best else ''} | {100 * item.found:.0f} "
        f"| {item.wrong_of_a_scene:.1f} | {item.seconds:.1f} |"
        for item in outcomes
    ]
    lines += [
        "",
        f"## What is called what ({best.detector}, {best.backend})",
        "",
        f"| object | {' | '.join([*names, MISSED])} | right pose |",
    ]
    lines += ["| --- |" + " --: |" * (len(names) + 2)]
    lines += [
        f"| {name} | {' | '.join(str(value) for value in row)} | {right} of {seen} |"
        for name, row, right, seen in zip(names, best.named, best.right, best.visible, strict=True)
    ]
    lines += growth_table(looks)
    lines += ["", "## Objects", "", *(f"![{name}]({name}.png)" for name in names)]
    lines += ["", "## Found in rendered scenes", ""]
    lines += [f"![found {number + 1}](found-{number + 1}.png)" for number in range(len(best.pictures))]
    return "\n".join(lines) + "\n"
