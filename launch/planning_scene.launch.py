"""Put what a pose node sees into MoveIt's planning scene.

ros2 launch pose_estimation_ros planning_scene.launch.py bundle:=models/mine planning_frame:=base_link
"""

import os
import sys
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from pose_estimation_ros.ros.launch_arguments import CHOICES, check_values, is_true, refuse_unknown_arguments
from pose_estimation_ros.ros.parent_process import VARIABLE

# name, default, description
ARGUMENTS = (
    ("namespace", "", "Namespace of the node, that of the pose node."),
    ("params_file", "", "YAML file with parameters of the node planning_scene; empty: none."),
    ("bundle", "", "The pose node's bundle, folder or name; empty: what params_file says, or demo."),
    ("mesh_dir", "", "Folder of the meshes, for bundles that may not ship them; empty: as params_file says."),
    (
        "processing",
        "",
        "continuous or on_demand, as the pose node has it; empty: what params_file says, or continuous.",
    ),
    ("planning_frame", "", "Frame that does not move, such as base_link; empty: as params_file says, or the camera's."),
    ("planning_scene_topic", "/planning_scene", "Topic on which move_group listens."),
    ("monitored_scene_topic", "/monitored_planning_scene", "Topic on which move_group says what the robot holds."),
    ("use_sim_time", "false", "Take the time from /clock (simulation, bags): true or false."),
    ("respawn", "false", "Start the node again when its process ends: true or false."),
    ("respawn_delay", "2.0", "Seconds until then."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)
# Arguments that replace a parameter of params_file when they are not empty.
OVERRIDES = ("bundle", "mesh_dir", "processing", "planning_frame")


def start(context):
    """Check all arguments, then build what they ask for."""
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    refuse_unknown_arguments(sys.argv, Path(__file__).name, values)
    check_values(values, "planning_scene")
    overrides = {name: values[name] for name in OVERRIDES if values[name]}
    overrides["use_sim_time"] = is_true(values["use_sim_time"])
    node = Node(
        package="pose_estimation_ros",
        executable="planning_scene_node",
        name="planning_scene",
        namespace=values["namespace"],
        parameters=[*([values["params_file"]] if values["params_file"] else []), overrides],
        remappings=[
            ("planning_scene", values["planning_scene_topic"]),
            ("monitored_planning_scene", values["monitored_scene_topic"]),
        ],
        arguments=["--ros-args", "--log-level", values["log_level"]],
        additional_env={VARIABLE: str(os.getpid())},
        respawn=is_true(values["respawn"]),
        respawn_delay=float(values["respawn_delay"]),
        output="screen",
    )
    return [node]


def generate_launch_description():
    """Declare the arguments and what they start."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=value, description=text, choices=CHOICES.get(name))
                for name, value, text in ARGUMENTS
            ),
            OpaqueFunction(function=start),
        ]
    )
