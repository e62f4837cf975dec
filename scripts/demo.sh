#!/usr/bin/env bash
# Show the whole way once: images over DDS into the pose node, poses out on TF, compared with the ground truth.
#
#   bash scripts/demo.sh                                         the demo bundle on its own sequence
#   bash scripts/demo.sh --bop DIR --bundle models/lmo           real photographs in BOP layout
#   bash scripts/demo.sh --help                                  everything else
#
# Writes out/demo: report.json, demo.mcap, demo.mp4, overlay/*.png, logs/. Exit code 0 only if poses came out.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/scripts/setup.sh"
set +u # setup files of ROS read variables that are not set
. "$root/scripts/env.sh"
set -u
exec python -m pose_estimation_ros.cli.demo "$@"
