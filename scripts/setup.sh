#!/usr/bin/env bash
# Make this clone ready to run: virtual environment .venv, pinned dependencies, message overlay .overlay, console
# scripts. Safe to run again: with nothing changed it takes a second.
#
#   bash scripts/setup.sh            everything, with the tools of the tests
#   PYTHON=python3.12 bash scripts/setup.sh    a certain Python, 3.10 to 3.13
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
overlay="$root/.overlay"
log="$venv/setup.log"
cd "$root"

say() { printf '%s\n' "setup: $*"; }
fail() { printf '%s\n' "setup: error: $*" >&2; exit 1; }

# Hash of everything an installation step depends on; a stamp file with the same hash means the step is done.
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }
is_done() { [ -f "$venv/$1.stamp" ] && [ "$(cat "$venv/$1.stamp")" = "$2" ]; }
mark_done() { printf '%s\n' "$2" > "$venv/$1.stamp"; }

# Run one long step with its output in the log; show the end of the log if it fails.
step() {  # TITLE COMMAND...
    local title="$1" started="$SECONDS"
    shift
    printf '%s' "setup: $title ... "
    printf '\n=== %s\n' "$*" >> "$log"
    if ! "$@" >> "$log" 2>&1; then
        printf 'failed\n'
        tail -n 30 "$log" >&2
        fail "$title failed; the whole log is in $log"
    fi
    printf '%s s\n' "$((SECONDS - started))"
}

ros_setup_file() {  # the setup file of an installed ROS 2, nothing where there is none
    local file
    for file in "/opt/ros/${ROS_DISTRO:-none}/setup.bash" /opt/ros/*/setup.bash; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; return; fi
    done
}

is_supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' > /dev/null 2>&1; }

find_python() {
    local name
    local candidates="${ros:+/usr/bin/python3 }python3 python3.12 python3.11 python3.13 python3.10"
    for name in ${PYTHON:-$candidates}; do
        if is_supported "$name"; then command -v "$name"; return; fi
    done
    fail "no Python 3.10 to 3.13 found${PYTHON:+ (PYTHON=$PYTHON)}; install one, or name it: PYTHON=/path/to/python3 bash scripts/setup.sh"
}

missing_system_packages() {  # PYTHON: names of the Debian packages whose files are not there
    local have_library
    have_library="$(ldconfig -p 2> /dev/null || /sbin/ldconfig -p 2> /dev/null || true)"
    [[ "$have_library" == *libusb-1.0.so.0* ]] || echo libusb-1.0-0
    [[ "$have_library" == *libGL.so.1* ]] || echo libgl1
    [[ "$have_library" == *libgomp.so.1* ]] || echo libgomp1
    "$1" -c 'import ensurepip, venv' > /dev/null 2>&1 || echo python3-venv
    [ -n "$ros" ] && return
    command -v cmake > /dev/null || echo cmake
    command -v g++ > /dev/null || echo g++
    command -v make > /dev/null || echo make
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' ||
        echo "python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev"
}

install_system_packages() {  # PYTHON
    local missing sudo=()
    mapfile -t missing < <(missing_system_packages "$1")
    [ "${#missing[@]}" -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
            sudo=(sudo -n)
        else
            fail "these system packages are missing: ${missing[*]}
  Debian and Ubuntu: sudo apt-get install ${missing[*]}
  elsewhere: the packages with the same libraries and tools; then run this script again"
        fi
    fi
    command -v apt-get > /dev/null || fail "these system packages are missing, and there is no apt-get: ${missing[*]}"
    say "system packages: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq ||
        say "apt-get update failed; trying with the package lists that are there"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null ||
        fail "apt-get could not install ${missing[*]}"
}

make_venv() {  # PYTHON
    if [ -x "$venv/bin/python" ] && is_supported "$venv/bin/python" && "$venv/bin/python" -m pip --version > /dev/null 2>&1; then
        return
    fi
    rm -rf "$venv" "$overlay"
    say "virtual environment .venv with $("$1" --version)"
    "$1" -m venv "$venv" || fail "$1 -m venv failed; Debian and Ubuntu: sudo apt-get install python3-venv"
}

check_platform() {
    [ "$(uname -s)" = Linux ] || fail "$(uname -s): expected Linux"
    [ -n "$ros" ] || [ "$(uname -m)" = x86_64 ] ||
        fail "$(uname -m): the ROS 2 wheels exist for x86_64 only; install ROS 2 here (see README.md)"
    local free_kb
    free_kb="$(df -Pk "$root" | awk 'NR == 2 {print $4}')"
    [ -x "$venv/bin/python" ] || [ "$free_kb" -gt 12000000 ] ||
        fail "$root: $((free_kb / 1000000)) GB free, expected 12 GB for the dependencies"
}

# The environment that is active in the calling shell must not leak in.
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off

started="$SECONDS"
ros="$(ros_setup_file)"
requirements=(scripts/requirements.txt scripts/requirements-{train,export,test}.txt)
[ -n "$ros" ] || requirements+=(scripts/requirements-ros.txt)
pip_hash="$(digest "${requirements[@]}")"
mapfile -t interface_files < <(find interfaces -type f | LC_ALL=C sort)
overlay_hash="$(digest scripts/requirements-ros.txt scripts/overlay.py "${interface_files[@]}")"
package_hash="$(printf '%s' "$root" | cat - setup.py setup.cfg package.xml | sha256sum | cut -d' ' -f1)"
if [ -x "$venv/bin/python" ] && is_done pip "$pip_hash" && is_done package "$package_hash" && is_done bytecode "$pip_hash" &&
    { [ -n "$ros" ] || { is_done overlay "$overlay_hash" && [ -d "$overlay/lib" ]; }; }; then
    exit 0
fi

check_platform
python="$(find_python)"
install_system_packages "$python"
make_venv "$python"
: > "$log"
# Compiling every module of every wheel takes longer than compiling on import the few that are used.
pip=("$venv/bin/python" -m pip install --no-compile)

# Messages are compiled while the largest wheels, which they do not need, are downloaded and unpacked.
overlay_pid=""
if [ -n "$ros" ]; then
    printf '%s\n' "$ros" > "$venv/ros_setup"
    say "ROS 2 is installed ($ros): no wheels, no overlay"
elif ! is_done overlay "$overlay_hash" || [ ! -d "$overlay/lib" ]; then
    rm -f "$venv/ros_setup"
    step "ROS 2 wheels" "${pip[@]}" --requirement scripts/requirements-ros.txt --constraint scripts/requirements.txt numpy setuptools
    setsid "$venv/bin/python" scripts/overlay.py --overlay "$overlay" > "$venv/overlay.log" 2>&1 &
    overlay_pid=$!
    trap 'kill -- "-$overlay_pid" 2> /dev/null || true' EXIT
fi
if ! is_done pip "$pip_hash"; then
    step "dependencies (about 6 GB, a few minutes)" "${pip[@]}" "${requirements[@]/#/--requirement=}"
    mark_done pip "$pip_hash"
fi
if [ -n "$overlay_pid" ]; then
    log="$venv/overlay.log"
    step "message packages of interfaces/" wait "$overlay_pid"
    trap - EXIT
    mark_done overlay "$overlay_hash"
fi
if ! is_done package "$package_hash"; then
    step "console scripts" "${pip[@]}" --no-deps --no-build-isolation --editable "$root"
    mark_done package "$package_hash"
fi
if ! is_done bytecode "$pip_hash"; then
    # Otherwise the first start compiles it, and every start where PYTHONDONTWRITEBYTECODE is set. Optimisers import torch._dynamo.
    step "bytecode of what the node and trainings import" env -u PYTHONDONTWRITEBYTECODE -u PYTHONPYCACHEPREFIX "$venv/bin/python" -c \
        'from pose_estimation_ros.objects.bundle import load_bundle; from pose_estimation_ros.pipeline import Pipeline; Pipeline(load_bundle("models/demo")); import torch._dynamo'
    mark_done bytecode "$pip_hash"
fi
say "ready after $((SECONDS - started)) s; now: source scripts/env.sh"
