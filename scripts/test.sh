#!/usr/bin/env bash
# Everything that must hold before a change is good: style, types, floors, tests. The last lines are pytest's summary,
# and what mypy finds, if anything.
#
#   bash scripts/test.sh              all of it
#   bash scripts/test.sh test/ros     only these tests, or any other arguments for pytest
#   bash scripts/test.sh --slow       the tests marked slow too
#
# TEST_PROCESSES=N runs as many tests at a time, 0 all of them in one process; as many as there are cores, at most four, if not set.
# POSE_PRECISION=float32 or =bfloat16 runs networks in that format on any processor; both must pass.
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root" || exit 1
bash scripts/setup.sh || exit 1
# shellcheck source=scripts/env.sh
source scripts/env.sh || exit 1

# Tests use tensors so small that more threads only get in one another's way. Their ROS graph stays on this machine.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
# Wheels come without bytecode. What many processes of tests import is compiled once, and not by each of them.
unset PYTHONDONTWRITEBYTECODE

cores="$(env -u OMP_NUM_THREADS nproc)" # nproc alone would say OMP_NUM_THREADS
processes="${TEST_PROCESSES:-$((cores < 4 ? cores : 4))}"
marker="not slow"
arguments=()
for argument in "$@"; do
    if [ "$argument" = --slow ]; then marker=""; else arguments+=("$argument"); fi
done

failed=()
check() {  # NAME COMMAND...: run a check, remember its name if it fails
    local name="$1" started="$SECONDS" output
    shift
    if output="$("$@" 2>&1)"; then
        echo "$name: good ($((SECONDS - started)) s)"
    else
        printf '%s\n%s: FAILED\n' "$output" "$name"
        failed+=("$name")
    fi
}
check ruff ruff check .
check import-linter lint-imports
# Types take long where nothing is cached; tests that wait for other processes leave that much idle.
types="$(mktemp)"
(nice mypy > "$types" 2>&1 && printf '\nmypy: good\n') &
mypy_process=$!
trap 'kill "$mypy_process" 2> /dev/null; rm -f "$types"' EXIT
echo "mypy: runs beside the tests; what it finds is said after them"

# Above the summary of pytest, so that its last line stays the last line of a run in which all is good.
if [ "${#failed[@]}" -gt 0 ]; then echo "FAILED before pytest: ${failed[*]}"; fi
timeout --kill-after=20 "${TEST_TIMEOUT_S:-1100}" python -m pytest -q -n "$processes" --dist loadgroup ${marker:+-m "$marker"} -rs --durations=10 "${arguments[@]}"
status=$?
if [ "$status" -eq 124 ]; then echo "pytest: stopped after ${TEST_TIMEOUT_S:-1100} s (TEST_TIMEOUT_S)"; fi
if ! wait "$mypy_process"; then
    cat "$types"
    echo "mypy: FAILED"
    failed+=(mypy)
fi
[ "${#failed[@]}" -eq 0 ] || exit 1
exit "$status"
