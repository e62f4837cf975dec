"""Measure everything that the documents show; every command writes one file in benchmarks/results/.

    python benchmarks/measure.py --list            # names, kinds and commands
    python benchmarks/measure.py --kind accuracy   # what needs no quiet machine
    python benchmarks/measure.py --kind time       # what does
    python benchmarks/measure.py 'lmo_nemo*'       # by name; trainings that take hours only run so
    python benchmarks/measure.py --missing         # only where there is no file yet: goes on after an interruption

Expects Occlusion-LineMOD in BOP layout in ../shared/data/lmo, joints of NYU's hands in ../shared/data/nyu_hand.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import yaml
from tables import BUSY

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
LMO = "--bundle models/lmo --bop ../shared/data/lmo"
NYU = "../shared/data/nyu_hand"
DEMO = "--bundle models/demo --bop models/demo/sequence"
KINDS = ("accuracy", "time", "training")


def parameters_of(file: str) -> list[str]:
    """Return what a file of parameters says, each as NAME=VALUE."""
    values = yaml.safe_load((ROOT / "config" / file).read_text())["/**"]["ros__parameters"]
    return [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]


QUICK, FAST = parameters_of("quick_refinement.yaml"), parameters_of("fast_refinement.yaml")


@dataclass(frozen=True)
class Measurement:
    """A command and the name of the file that it writes."""

    name: str
    kind: str  # time: needs a quiet machine; training: takes hours
    command: str  # without its --result

    @property
    def file(self) -> Path:
        """Where the result lies, relative to the repository."""
        return RESULTS / f"{self.name}.json"

    @property
    def whole(self) -> str:
        """The whole command."""
        return f"{self.command} --result {self.file}"


def evaluations() -> list[Measurement]:
    """List the evaluations of the shipped bundles; nothing was chosen on the images of --part."""
    found = []
    for (name, data, part), backend, refiner, boxes in product(
        (("lmo", LMO, "1:60:2"), ("demo", DEMO, "1:40:2")),
        ("pix2pose", "heatmaps", "nemo"),
        ("none", "attention"),
        ("gt", "model"),
    ):
        method = backend if refiner == "none" else f"{backend}_{refiner}"
        options = f"--backend {backend} --refiner {refiner} --detections {boxes} --no-vsd --part {part}"
        found.append(Measurement(f"{name}_{method}_{boxes}", "accuracy", f"pose_evaluate {data} {options}"))
    return found


OTHERS = {
    "accuracy": {
        "demo_heatmaps_patches": f"pose_evaluate {DEMO} --backend heatmaps --detections patches --no-vsd --part 1:40:2",
        **{
            f"box_error_{error:02d}": f"pose_evaluate {LMO} --backend pix2pose --detections gt --no-vsd --part 1:60:2 "
            f"--box-error {error / 100:g}"
            for error in (5, 10, 15, 25)
        },
        "box_error_15_attention": f"pose_evaluate {LMO} --backend pix2pose --refiner attention --detections gt "
        "--no-vsd --part 1:60:2 --box-error 0.15",
        "lmo_pix2pose_quick_model": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend pix2pose --refiner attention "
        "--detections model --no-vsd --part 1:60:2 " + " ".join(f"--set {item}" for item in QUICK),
        **{
            f"lmo_corners_{boxes}": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend corners --refiner none "
            f"--detections {boxes} --no-vsd --part 1:60:2"
            for boxes in ("gt", "model")
        },
        **{
            f"lmo_pix2pose_fast_{boxes}": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend pix2pose "
            f"--refiner attention --detections {boxes} --no-vsd --part 1:60:2 "
            + " ".join(f"--set {item}" for item in FAST)
            for boxes in ("gt", "model")
        },
        "detection_lmo": f"python benchmarks/detection.py {LMO}",
        "detection_lmo_odd": f"python benchmarks/detection.py {LMO} --image-range 1:60:2",
        "parts_pix2pose": "python benchmarks/pix2pose_parts.py --bop ../shared/data/lmo --image-step 2",
        "parts_pix2pose_attention": "python benchmarks/pix2pose_parts.py --bop ../shared/data/lmo --image-step 2 "
        "--refiner attention",
        "parts_attention": f"python benchmarks/attention_parts.py {LMO} --image-step 2",
        "parts_heatmaps": f"python benchmarks/heatmaps_reading.py {DEMO} --image-step 4",
        # One thread: what is measured beside the figures is the time of the processor.
        "coarse_search": f"OMP_NUM_THREADS=1 python benchmarks/coarse_search.py {LMO} --image-step 4",
        "coarse_search_renders": "OMP_NUM_THREADS=1 python benchmarks/coarse_search.py --bundle models/lmo "
        "--mesh-dir ../shared/data/lmo/models --renders 160 --only attention lite0",
        "lmo_unseen_gt": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend unseen --refiner none --detections gt "
        "--no-vsd --part 1:60:2",
        "lmo_unseen_gt_every_rotation": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend unseen --refiner none "
        "--detections gt --no-vsd --image-range 0:60:6 --set unseen.every_rotation=true",
        # Before: python scripts/make_generic_objects.py --media runs/media --out runs/held_out --count 12 --held-out
        "renders_unseen": "OMP_NUM_THREADS=1 python benchmarks/unseen_renders.py --bop runs/held_out "
        "--pictures runs/media/pictures --bundles models/demo models/lmo models/generic",
        # Before, with the pose prior of models/lmo: pose_add --bundle runs/lmo_generic
        # --models ../shared/data/lmo/models --elevation -5 90 --roll -45 45 --distance 0.35 1.5
        "lmo_unseen_generic_gt": "OMP_NUM_THREADS=1 pose_evaluate --bundle runs/lmo_generic --bop ../shared/data/lmo "
        "--backend unseen --refiner none --detections gt --no-vsd --part 1:60:2",
        # Of the same bundle, whose detector is `proposals`; its names are less sure than those of a trained detector.
        "lmo_unseen_generic_model": "OMP_NUM_THREADS=1 pose_evaluate --bundle runs/lmo_generic "
        "--bop ../shared/data/lmo --backend unseen --refiner none --detections model --candidates 8 "
        "--score-threshold 0.01 --no-vsd --part 1:60:2",
        # Before: the bundle of lmo_unseen_generic_gt, made with --photos runs/media/pictures --minutes 30
        "lmo_add_30": "OMP_NUM_THREADS=1 pose_evaluate --bundle runs/lmo_30 --bop ../shared/data/lmo "
        "--detections model --no-vsd --part 1:60:2",
        # Before, with the same prior and pictures: pose_add --bundle runs/can_10
        # --mesh obj_000005=../shared/data/lmo/models/obj_000005.ply --unit mm --minutes 10
        "lmo_add_10_can": "OMP_NUM_THREADS=1 pose_evaluate --bundle runs/can_10 --bop ../shared/data/lmo "
        "--detections model --no-vsd --part 1:60:2",
        # Before: pose_add --bundle runs/held_out_generic --models runs/held_out/models --elevation 0 90 --roll -45 45
        "false_names_held_out": "OMP_NUM_THREADS=1 python benchmarks/false_names.py --bundle runs/held_out_generic "
        "--bop ../shared/data/lmo",
        # Before: pose_add --bundle runs/demo_generic --mesh models/demo/meshes/*.ply
        "false_names_demo": "OMP_NUM_THREADS=1 python benchmarks/false_names.py --bundle runs/demo_generic "
        "--bop ../shared/data/lmo",
        "proposals_demo": "python benchmarks/proposals.py --network models/generic --bundle models/demo",
        "proposals_held_out": "python benchmarks/proposals.py --network models/generic --bop runs/held_out --known 8 "
        "--backgrounds runs/media/pictures",
        "labels_lmo": f"OMP_NUM_THREADS=1 python benchmarks/labels.py {LMO} --image-range 1:60:2 --images 20",
        "covariance_demo": "python benchmarks/covariance.py --bundle models/demo --image-range 1:40:2",
        "covariance_lmo": f"python benchmarks/covariance.py {LMO} --image-range 1:60:2",
        "hands_published": f"pose_evaluate_hands --groundtruth {NYU}/groundtruth_uvd.txt "
        f"--predictions {NYU}/feature_mapping_uvd.txt {NYU}/deepprior_pp_uvd.txt",
        "hands_renders": "OMP_NUM_THREADS=1 python benchmarks/hands.py --bundle models/hands",
        "hands_adaptation": "OMP_NUM_THREADS=1 python benchmarks/hands_adaptation.py --bundle models/hands",
        "renders_pix2pose": "python benchmarks/held_out_renders.py --bundle models/lmo "
        "--mesh-dir ../shared/data/lmo/models",
        "renders_heatmaps": "python benchmarks/held_out_renders.py --bundle models/lmo "
        "--mesh-dir ../shared/data/lmo/models --backend heatmaps",
    },
    "time": {
        "time_lmo": f"pose_benchmark {LMO} --mesh-dir ../shared/data/lmo/models",
        "time_lmo_attention": f"pose_benchmark {LMO} --mesh-dir ../shared/data/lmo/models --refiner attention "
        "--frames 8",
        "time_poses_pix2pose": f"pose_benchmark {LMO} --no-detector --backend pix2pose",
        "time_poses_heatmaps": f"pose_benchmark {LMO} --no-detector --backend heatmaps",
        "time_poses_nemo": f"pose_benchmark {LMO} --no-detector --backend nemo",
        "time_poses_unseen": "pose_benchmark --bundle runs/lmo_generic --bop ../shared/data/lmo --no-detector "
        "--backend unseen",
        "time_pose_add": "python benchmarks/pose_add.py",
        "time_nemo_paper": f"pose_benchmark {LMO} --no-detector --backend nemo --compare nemo "
        "--compare-set nemo.procedure=paper --frames 5",
        "time_second_looks": f"pose_benchmark {LMO} --mesh-dir ../shared/data/lmo/models --backend pix2pose "
        "--refiner attention --boxes model --frames 20 --compare pix2pose --compare-set second_looks.enabled=false",
        "identities": "OMP_NUM_THREADS=1 python benchmarks/identities.py --bundle models/demo --loops 3",
        # Before: python scripts/make_crossing_sequence.py --output runs/crossing
        "identities_crossing": "OMP_NUM_THREADS=1 python benchmarks/identities.py --bundle models/demo "
        "--bop runs/crossing --loops 1",
        "static_noise": "OMP_NUM_THREADS=1 python benchmarks/static_noise.py --bundle models/lmo "
        "--bop ../shared/data/lmo --mesh-dir ../shared/data/lmo/models",
        "time_refined_frame": f"pose_benchmark {LMO} --mesh-dir ../shared/data/lmo/models --backend pix2pose "
        "--refiner attention --boxes model --frames 10 --compare pix2pose "
        + " ".join(f"--compare-set {item}" for item in QUICK),
        "time_fast_frame": f"pose_benchmark {LMO} --mesh-dir ../shared/data/lmo/models --backend pix2pose "
        + " ".join(f"--set {item}" for item in ["refiner=attention", *FAST])
        + " --compare pix2pose --compare-set refiner=none",
        "time_following": "python benchmarks/following.py --bundle models/demo",
        # Before: pose_add --bundle runs/demo_unseen --unit m --minutes 0 --mesh NAME=models/demo/meshes/NAME.ply ...
        # in the order of models/demo/bundle.yaml, whose ids they then have
        "time_following_unseen": "python benchmarks/following.py --bundle runs/demo_unseen "
        "--bop models/demo/sequence --backend unseen --objects mug --rounds 1",
        "time_warm_up": "python benchmarks/warm_up.py --bundle models/demo --refiner attention",
        "time_first_pose": "python benchmarks/first_pose.py",
        "time_hands": "python benchmarks/hands_over_dds.py",
        "time_demo": "pose_demo",
        "time_node": "python benchmarks/node_overhead.py",
        "time_node_1080": "python benchmarks/node_overhead.py --width 1920 --height 1080",
        "soak": "OMP_NUM_THREADS=1 python benchmarks/soak.py --minutes 10 --hz 30",
        "soak_1080": "OMP_NUM_THREADS=1 python benchmarks/soak.py --minutes 10 --hz 30 --width 1920 --height 1080",
        "time_generator": "python benchmarks/generator.py",
        "time_training_processes": "python benchmarks/training_processes.py",
        "time_growing_bundle": "python benchmarks/growing_bundle.py",
        "time_objects_in_view": "python benchmarks/objects_in_view.py",
        "bpnp": "python benchmarks/bpnp.py",
        "pnp": "OMP_NUM_THREADS=1 python benchmarks/pnp.py",
    },
    "training": {
        "scaling_lmo": f"python benchmarks/scaling_curve.py {LMO} --snapshots runs/lmo/pix2pose/snapshots",
        "bpnp_training": f"python benchmarks/bpnp_training.py {LMO}",
        "adaptation_lmo": f"OMP_NUM_THREADS=1 python benchmarks/adaptation.py {LMO} --backends pix2pose "
        "--counts 5 15 45 --seeds 0 --samples 4000 --set optimiser.ema_samples=1000 --set optimiser.warmup_samples=400 "
        "--out runs/adaptation_lmo --plot runs/adaptation_lmo.png",
        "adaptation_seeds": f"OMP_NUM_THREADS=1 python benchmarks/adaptation.py {LMO} --backends pix2pose corners "
        "--trainings fine-tuning both --samples 2000 --out runs/adaptation_seeds",
        "adaptation_mapping": f"OMP_NUM_THREADS=1 python benchmarks/adaptation.py {LMO} --backends pix2pose "
        "--counts 5 --trainings mapping --samples 2000 --out runs/adaptation_seeds --plot runs/adaptation_mapping.png",
        "adaptation_long": f"OMP_NUM_THREADS=1 python benchmarks/adaptation.py {LMO} --backends pix2pose "
        "--counts 5 --trainings fine-tuning both --seeds 1 2 --samples 4000 --out runs/adaptation_long "
        "--plot runs/adaptation_long.png",
        # Before: pose_adapt --bundle models/lmo --photos ../shared/data/lmo --backend BACKEND --image-range 0:45
        # --images 5 --set samples=2000 --set bank.seed=0 --out runs/BACKEND_both, and with --set mapping=false to
        # runs/BACKEND_fine_tuned
        **{
            f"mapping_gap_{backend}": f"OMP_NUM_THREADS=1 python benchmarks/mapping_gap.py --bundles models/lmo "
            f"runs/{backend}_fine_tuned runs/{backend}_both --bop ../shared/data/lmo --backend {backend} --crops 256"
            for backend in ("corners", "pix2pose")
        },
        # Before: pose_train --recipes config/train/lmo --bop ../shared/data/lmo --bundle runs/lmo_recipes, with
        # network: {trunk: encoder, encoder: lite0, widths: [512], hidden: 768} in 3_heatmaps.yaml
        "heatmaps_lite0": "OMP_NUM_THREADS=1 pose_evaluate --bundle runs/lmo_recipes --bop ../shared/data/lmo "
        "--backend heatmaps --detections gt --no-vsd --image-range 0:60:2",
        "heatmaps_deep": f"OMP_NUM_THREADS=1 pose_evaluate {LMO} --backend heatmaps --detections gt --no-vsd "
        "--image-range 0:60:2",
        "detector_ablation": "OMP_NUM_THREADS=1 python benchmarks/detector_ablation.py --bop ../shared/data/lmo "
        "--samples 804 --only 'as the recipe, 480 wide' 'encoder frozen' 'compact encoder, from nothing' "
        "'plain scenes'",
        "encoder_ablation": "OMP_NUM_THREADS=1 python benchmarks/encoder_ablation.py --bop ../shared/data/lmo "
        "--samples 6000 --only nemo",
        "attention_ablation": "python benchmarks/attention_ablation.py --bundle models/demo --pairs 16000",
        "occlusion_curve": "python benchmarks/occlusion_curve.py --bundle models/demo --objects mug toy_brick "
        "--samples 24000",
        "nemo_occlusion": "python benchmarks/nemo_occlusion.py --categories ../shared/data/category_cad --only cuboid "
        "'cuboid, no occluder model' 'cuboid, not contrastive' 'pose classifier'",
        "nemo_occlusion_meshes": "python benchmarks/nemo_occlusion.py --categories ../shared/data/category_cad "
        "--only cuboid multi-cuboid mesh --cases 480",
        "nemo_occlusion_seen": "python benchmarks/nemo_occlusion.py --categories ../shared/data/category_cad --seen "
        "--only cuboid --cases 480",
    },
}


def measurements() -> list[Measurement]:
    """List everything."""
    return evaluations() + [
        Measurement(name, kind, command) for kind, commands in OTHERS.items() for name, command in commands.items()
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the commands that are asked for; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names, or patterns such as 'lmo_*' (default: all but trainings)")
    parser.add_argument("--kind", choices=KINDS, help="only these")
    parser.add_argument("--missing", action="store_true", help="only what has no result file")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    arguments = parser.parse_args(argv)
    try:
        chosen = choose(arguments)
    except ValueError as error:
        print(f"measure.py: error: {error}", file=sys.stderr)
        return 2
    if arguments.list:
        print("\n".join(f"{item.name:26} {item.kind:9} {item.whole}" for item in chosen))
        return 0
    failed = [item.name for item in chosen if not run(item)]
    if failed:
        print(f"measure.py: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def choose(arguments: argparse.Namespace) -> list[Measurement]:
    """Return what the arguments ask for.

    Raises:
        ValueError: if a name means nothing.
    """
    everything = measurements()
    for name in arguments.names:
        if not any(fnmatch.fnmatch(item.name, name) for item in everything):
            raise ValueError(f"{name}: no such measurement; --list shows them")
    patterns = arguments.names or ["*"]
    chosen = [item for item in everything if any(fnmatch.fnmatch(item.name, pattern) for pattern in patterns)]
    if arguments.kind:
        chosen = [item for item in chosen if item.kind == arguments.kind]
    elif not arguments.names and not arguments.list:
        chosen = [item for item in chosen if item.kind != "training"]
    return [item for item in chosen if not (arguments.missing and (ROOT / item.file).is_file())]


def run(measurement: Measurement) -> bool:
    """Run a command in the repository; return whether it wrote its file."""
    load = os.getloadavg()[0]
    if measurement.kind == "time" and load > BUSY:
        print(f"note: {measurement.name}: the machine is busy, load {load:.1f}", file=sys.stderr)
    print(f"$ {measurement.whole}", flush=True)
    started = time.time()
    code = subprocess.run(["bash", "-c", measurement.whole], cwd=ROOT, check=False).returncode
    file = ROOT / measurement.file
    return code == 0 and file.is_file() and file.stat().st_mtime >= started


if __name__ == "__main__":
    sys.exit(main())
