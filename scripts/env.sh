# Source this file: `source scripts/env.sh`. It activates .venv and puts ROS 2 and its message overlay on the paths.
# Works in bash and zsh, changes nothing on disk, may be sourced twice.

_pose_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"

_pose_prepend() {  # NAME FOLDER: put the folder first in a colon-separated variable, once
    eval "_pose_value=\"\${$1:-}\""
    case ":$_pose_value:" in
        *":$2:"*) ;;
        *) export "$1=$2${_pose_value:+:$_pose_value}" ;;
    esac
    unset _pose_value
}

if [ ! -f "$_pose_root/.venv/bin/activate" ]; then
    echo "scripts/env.sh: no virtual environment in $_pose_root/.venv; run: bash scripts/setup.sh" >&2
    unset -f _pose_prepend
    unset _pose_root
    return 1
fi

# An installed ROS 2, if setup.sh found one, comes first; it wrote its setup file's name here.
if [ -f "$_pose_root/.venv/ros_setup" ] && [ -z "${ROS_DISTRO:-}" ]; then
    . "$(cat "$_pose_root/.venv/ros_setup")"
fi
. "$_pose_root/.venv/bin/activate"

if [ ! -f "$_pose_root/.venv/ros_setup" ]; then
    _pose_site="$("$_pose_root/.venv/bin/python" -I -S -c \
        'import sys; print("lib/python%d.%d/site-packages" % sys.version_info[:2])')"
    for _pose_prefix in "$_pose_root/.venv" "$_pose_root/.overlay"; do
        _pose_prepend LD_LIBRARY_PATH "$_pose_prefix/lib"
        _pose_prepend AMENT_PREFIX_PATH "$_pose_prefix"
    done
    # Libraries that the wheels bring along. The wheels' start-up hook adds them too, but not if a parent
    # process with another virtual environment has already run it.
    for _pose_prefix in "$_pose_root/.venv/$_pose_site/"ros_*.libs; do
        if [ -d "$_pose_prefix" ]; then _pose_prepend LD_LIBRARY_PATH "$_pose_prefix"; fi
    done
    _pose_prepend PYTHONPATH "$_pose_root/.overlay/$_pose_site"
    export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
    # Images do not fit into the 512 KB of shared memory that Fast DDS takes; best-effort subscribers would lose many.
    : "${FASTDDS_BUILTIN_TRANSPORTS:=DEFAULT?max_msg_size=65000B&sockets_size=16MB}"
    export FASTDDS_BUILTIN_TRANSPORTS
    unset _pose_site _pose_prefix
fi
unset -f _pose_prepend
unset _pose_root
