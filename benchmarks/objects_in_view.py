"""What more objects in view cost: the time of a frame over the number of boxes in it.

    python benchmarks/objects_in_view.py --bundle models/demo [--refiners none attention] [--boxes 1 2 4 8 16 30]

The images are those of the bundle, or of --bop; with more boxes than objects they lie a little beside the first ones.
The detector runs in every frame, whatever it finds; boxes that it is unsure of are left out (verification.max_poses).
"""

from __future__ import annotations

import argparse

from pose_estimation_ros.cli.benchmark import measure, parser_of_benchmark
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result

_STAGES = ("detection", "pose", "refinement", "total")


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--bop", help="data set in BOP layout")
    parser.add_argument("--backend", default="pix2pose")
    parser.add_argument("--refiners", nargs="+", default=["none", "attention"])
    parser.add_argument("--boxes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 30])
    parser.add_argument("--frames", type=int, default=5)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/objects_in_view.py")
    source = ["--bundle", arguments.bundle, *(["--bop", arguments.bop] if arguments.bop else [])]
    rows = Rows()
    for refiner in arguments.refiners:
        for count in arguments.boxes:
            options = ["--backend", arguments.backend, "--refiner", refiner, "--objects", str(count)]
            options += ["--frames", str(arguments.frames), "--set", "verification.max_poses=1"]
            given = parser_of_benchmark().parse_args([*source, *options])
            measured = measure(given)
            medians = {f"{stage}_ms": measured.stages_ms[stage].p50 for stage in _STAGES}
            rows.add(refiner=refiner, boxes=count, **medians)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


if __name__ == "__main__":
    main()
