"""Play images of a BOP data set and find the poses in them: player, pose node and RViz.

ros2 launch pose_estimation_ros demo.launch.py
"""

import os
import sys
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from pose_estimation_ros.ros.launch_arguments import CHOICES, check_values, is_true, refuse_unknown_arguments
from pose_estimation_ros.ros.parent_process import VARIABLE

SHARE = Path(__file__).resolve().parents[1]

# name, default, description
ARGUMENTS = (
    ("bop", str(SHARE / "models" / "demo" / "sequence"), "Folder of a data set in BOP layout."),
    ("rate", "5.0", "Images per second."),
    ("namespace", "", "Namespace of player and node, and of their relative topics."),
    ("params_file", "", "YAML file with parameters of the node, such as lines of config/pose.yaml; empty: none."),
    ("bundle", "demo", "Folder of a bundle or name of a shipped one that knows the objects of the images."),
    ("backend", "", "Pose estimator with weights in the bundle; empty: as params_file or bundle says."),
    ("refiner", "", "Refinement of the poses (none, attention); empty: as params_file or bundle says."),
    ("device", "auto", "auto, cpu, cuda or cuda:N."),
    ("image_topic", "image", "Topic of the images; with image_transport compressed, /compressed is appended."),
    ("camera_info_topic", "camera_info", "Topic of the CameraInfo that belongs to them."),
    ("image_transport", "raw", "raw or compressed, of player and node."),
    ("respawn", "false", "Start the node again when its process ends, instead of ending: true or false."),
    ("respawn_delay", "2.0", "Seconds until then."),
    ("rviz", "true", "Start RViz (needs rviz2): true or false."),
    ("fixed_frame", "", "Fixed frame of RViz; empty: the frame of the images."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)
OWN = ("bop", "rate")  # the others are of pose.launch.py, too


def start(context):
    """Check all arguments, then build what they ask for: a failure after a start would leave processes behind."""
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    refuse_unknown_arguments(sys.argv, Path(__file__).name, values)
    check_values(values)
    passed_on = {name: value for name, value in values.items() if name not in OWN}
    passed_on["use_sim_time"] = "false"  # nobody plays a clock
    return [
        *([] if is_true(values["respawn"]) else [end_with("pose_node")]),
        end_with("pose_play"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(SHARE / "launch" / "pose.launch.py")),
            launch_arguments=passed_on.items(),
        ),
        player(values),
    ]


def player(values):
    """Build the player, on the topics that the node listens to."""
    return Node(
        package="pose_estimation_ros",
        executable="pose_play",
        namespace=values["namespace"],
        remappings=[
            ("image", values["image_topic"]),
            ("image/compressed", f"{values['image_topic']}/compressed"),
            ("camera_info", values["camera_info_topic"]),
        ],
        arguments=[
            *("--bop", values["bop"], "--rate", values["rate"], "--transport", values["image_transport"]),
            *("--loop", "--wait-subscribers", "1", "--ros-args", "--log-level", values["log_level"]),
        ],
        additional_env={VARIABLE: str(os.getpid())},
        sigterm_timeout="15",  # seconds, as for the node: a busy machine takes some to end it
        output="screen",
    )


def end_with(executable):
    """End everything when a process ends, unless that is what is being done: launch fails at a second time."""

    def on_exit(event, context):
        return [] if context.is_shutdown else [Shutdown(reason=f"{executable} has ended")]

    return RegisterEventHandler(
        OnProcessExit(
            target_action=lambda action: getattr(action, "node_executable", None) == executable, on_exit=on_exit
        )
    )


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
