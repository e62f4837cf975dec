"""Start the pose estimation node, and RViz if asked for.

ros2 launch pose_estimation_ros pose.launch.py image_topic:=/camera/image_raw camera_info_topic:=/camera/camera_info
"""

import os
import sys
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from pose_estimation_ros.ros.launch_arguments import CHOICES, check_values, is_true, refuse_unknown_arguments
from pose_estimation_ros.ros.parent_process import VARIABLE

SHARE = Path(__file__).resolve().parents[1]

# name, default, description
ARGUMENTS = (
    ("namespace", "", "Namespace of the node and of its relative topics."),
    ("params_file", "", "YAML file with parameters of the node, such as lines of config/pose.yaml; empty: none."),
    ("bundle", "", "Folder of a bundle or name of a shipped one (demo, lmo); empty: what params_file says, or demo."),
    (
        "backend",
        "",
        "Pose estimator with weights in the bundle (pix2pose, nemo, heatmaps, corners); empty: params_file or bundle.",
    ),
    ("refiner", "", "Refinement of the poses (none, attention); empty: as params_file or bundle says."),
    ("device", "", "auto, cpu, cuda or cuda:N; empty: what params_file says, or auto."),
    ("image_topic", "image", "Image topic; with image_transport compressed, /compressed is appended."),
    ("camera_info_topic", "camera_info", "CameraInfo topic that belongs to the image."),
    ("image_transport", "", "raw or compressed; empty: what params_file says, or raw."),
    ("use_sim_time", "false", "Take the time from /clock (simulation, bags): true or false."),
    ("respawn", "false", "Start the node again when its process ends: true or false."),
    ("respawn_delay", "2.0", "Seconds until then."),
    ("rviz", "false", "Start RViz with overlay, markers and TF (needs rviz2): true or false."),
    ("fixed_frame", "", "Fixed frame of RViz; empty: the frame of the first image."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)
# Arguments that replace a parameter of params_file when they are not empty.
OVERRIDES = ("bundle", "backend", "refiner", "device", "image_transport")


def start(context):
    """Check all arguments, then build what they ask for: a failure after a start would leave processes behind."""
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    refuse_unknown_arguments(sys.argv, Path(__file__).name, values)
    check_values(values)
    return [pose_node(values), *([rviz(values)] if is_true(values["rviz"]) else [])]


def pose_node(values):
    """Build the node; empty arguments must not replace what params_file says."""
    overrides = {name: values[name] for name in OVERRIDES if values[name]}
    overrides["use_sim_time"] = is_true(values["use_sim_time"])
    return LifecycleNode(
        package="pose_estimation_ros",
        executable="pose_node",
        name="pose_estimation",
        namespace=values["namespace"],
        parameters=[*([values["params_file"]] if values["params_file"] else []), overrides],
        remappings=topics(values),
        arguments=["--ros-args", "--log-level", values["log_level"]],
        additional_env={VARIABLE: str(os.getpid())},
        respawn=is_true(values["respawn"]),
        respawn_delay=float(values["respawn_delay"]),
        sigterm_timeout="15",  # seconds for the frame in work and for freeing the networks
        output="screen",
    )


def rviz(values):
    """Build RViz, whose topics are relative to the namespace."""
    config = str(SHARE / "config" / "rviz" / "pose.rviz")
    frame = ["--fixed-frame", values["fixed_frame"]] if values["fixed_frame"] else []
    return Node(
        package="pose_estimation_ros",
        executable="pose_rviz",
        name="rviz",
        namespace=values["namespace"],
        remappings=topics(values),
        arguments=["--config", config, *frame],
        additional_env={VARIABLE: str(os.getpid())},
        output="screen",
    )


def topics(values):
    """Return where the relative names of the images lead."""
    return [
        ("image", values["image_topic"]),
        ("image/compressed", f"{values['image_topic']}/compressed"),
        ("camera_info", values["camera_info_topic"]),
    ]


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
