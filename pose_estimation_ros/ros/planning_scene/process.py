"""Put what a pose node sees into MoveIt's planning scene, until it is told to go.

Objects are added with their meshes when they are first seen, moved with their poses, and removed when they are gone.
"""

from __future__ import annotations

import sys
from importlib import import_module

from pose_estimation_ros.ros.command_line import refuse_other_arguments
from pose_estimation_ros.ros.moveit import missing_moveit
from pose_estimation_ros.ros.node_process import run_node

PROGRAM = "planning_scene_node"


def main(argv: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit code."""
    words = sys.argv if argv is None else argv
    refuse_other_arguments(PROGRAM, __doc__, words)  # --help is answered without MoveIt, too
    try:
        node = import_module("pose_estimation_ros.ros.planning_scene.node").PlanningSceneNode
    except ModuleNotFoundError as error:
        said = missing_moveit(error)
        if said is None:
            raise
        print(f"{PROGRAM}: error: {said}", file=sys.stderr)
        return 2
    return run_node(words, PROGRAM, __doc__, node, has_last_word=True)
