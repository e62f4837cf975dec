#!/usr/bin/env bash
# What only a machine with a GPU can show, in less than eight minutes: tests marked cuda, CPU and GPU side by side,
# latency, throughput and memory with 1, 5 and 10 objects, and how fast networks train. One JSON with all of it.
#
#   bash scripts/gpu_check.sh                    writes out/gpu_check.json
#   bash scripts/gpu_check.sh result.json        writes there
#   BUNDLE=models/lmo MESHES=lmo/models bash scripts/gpu_check.sh    another bundle; MESHES where it ships none
#
# Without a GPU it says so and ends with 77, the exit status of tests that were skipped.
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
result="$(realpath -m "${1:-$root/out/gpu_check.json}")"
cd "$root" || exit 1
# shellcheck source=scripts/env.sh
source scripts/env.sh || exit 1
bundle="${BUNDLE:-demo}"
parts="$(mktemp -d)"
trap 'rm -rf "$parts"' EXIT

if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    printf '%s\n' "######################################################################" \
        "gpu_check: SKIPPED: PyTorch sees no CUDA device on this machine." \
        "gpu_check: nothing was tested, nothing was measured." \
        "######################################################################" >&2
    exit 77
fi

TOTAL_S=470  # for all parts
failed=()
part() {  # NAME SECONDS COMMAND...: run one part; remember its name if it fails or takes too long
    local name="$1" limit="$2" left="$((TOTAL_S - SECONDS))" started="$SECONDS"
    shift 2
    [ "$limit" -le "$left" ] || limit="$((left > 1 ? left : 1))"
    if timeout --kill-after=5 "$limit" "$@" > "$parts/$name.log" 2>&1; then
        echo "$name: good ($((SECONDS - started)) s)"
    else
        tail -n 20 "$parts/$name.log"
        echo "$name: FAILED"
        failed+=("$name")
    fi
}

part tests 150 python -m pytest -q -m cuda test
meshes=(${MESHES:+--mesh-dir "$MESHES"})
for refiner in none attention; do
    part "compare_$refiner" 60 python benchmarks/gpu_parity.py --bundle "$bundle" "${meshes[@]}" \
        --refiner "$refiner" --json "$parts/parity_$refiner.json"
    for objects in 1 5 10; do
        for rate in 30 0; do
            part "benchmark_${refiner}_${objects}_${rate}" 30 python -m pose_estimation_ros.cli.benchmark \
                --bundle "$bundle" "${meshes[@]}" --device cuda --refiner "$refiner" --objects "$objects" \
                $([ "$rate" = 0 ] || echo --rate "$rate") --frames 90 --json "$parts/${refiner}_${objects}_${rate}.json"
        done
    done
done
cp -r models/demo "$parts/demo"
for network in pix2pose detector; do
    part "train_$network" 60 python -m pose_estimation_ros.cli.train --bundle "$parts/demo" --network "$network" \
        --device cuda --work-dir "$parts/runs/$network" --config "$(ls config/train/demo/*_"$network".yaml)" \
        $([ "$network" = pix2pose ] && echo --set "stages=[{size: 96, samples: 20000}]" || echo --set samples=3000)
done

python - "$parts" "$result" "$SECONDS" "${failed[@]}" << 'EOF'
import json
import sys
from pathlib import Path

import torch

from pose_estimation_ros.evaluation.machine import describe_machine

parts, result = Path(sys.argv[1]), Path(sys.argv[2])
content = {
    "machine": describe_machine(torch.device("cuda")),
    "seconds": int(sys.argv[3]),
    "failed": sys.argv[4:],
    "parity": {file.stem.partition("_")[2]: json.loads(file.read_text()) for file in sorted(parts.glob("parity_*.json"))},
    "benchmarks": {},
    "training_samples_per_second": {},
}
for file in sorted(parts.glob("*_*_*.json")):
    refiner, objects, rate = file.stem.split("_")
    found = json.loads(file.read_text())
    kept = {"stages_ms": found["stages_ms"], "memory_mb": found["peak_memory_mb"]}
    if rate == "0":
        kept["throughput_fps"] = found["throughput_fps"]
    content["benchmarks"][f"refiner {refiner}, {objects} objects, {'saturated' if rate == '0' else rate + ' Hz'}"] = kept
for log in sorted(parts.glob("work/*/log.jsonl")):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    if len(lines) > 1:  # the first fifty steps pay for what happens once
        seconds = lines[-1]["seconds"] - lines[0]["seconds"]
        speed = (lines[-1]["samples"] - lines[0]["samples"]) / max(seconds, 0.1)
        content["training_samples_per_second"][log.parent.name] = round(speed, 1)
result.parent.mkdir(parents=True, exist_ok=True)
result.write_text(json.dumps(content, indent=2) + "\n")
print(json.dumps(content, indent=2))
print(f"gpu_check: {result}")
EOF
[ "${#failed[@]}" -eq 0 ] || { echo "gpu_check: FAILED: ${failed[*]}"; exit 1; }
