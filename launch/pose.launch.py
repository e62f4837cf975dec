"""Start the pose estimation node, and RViz if asked for.

ros2 launch pose_estimation_ros pose.launch.py image_topic:=/camera/image_raw camera_info_topic:=/camera/camera_info
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

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
    ("rviz", "false", "Start RViz with overlay, markers and TF (needs rviz2): true or false."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)
# Arguments that replace a parameter of params_file when they are not empty.
OVERRIDES = ("bundle", "backend", "refiner", "device", "image_transport")


def start_node(context):
    """Build the node once the arguments are known: empty ones must not replace what params_file says."""
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = {name: values[name] for name in OVERRIDES if values[name]}
    overrides["use_sim_time"] = values["use_sim_time"].lower() in ("true", "1")
    image_topic = values["image_topic"]
    return [
        LifecycleNode(
            package="pose_estimation_ros",
            executable="pose_node",
            name="pose_estimation",
            namespace=values["namespace"],
            parameters=[*([values["params_file"]] if values["params_file"] else []), overrides],
            remappings=[
                ("image", image_topic),
                ("image/compressed", f"{image_topic}/compressed"),
                ("camera_info", values["camera_info_topic"]),
            ],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            sigterm_timeout="15",  # seconds for the frame in work and for freeing the networks
            output="screen",
        )
    ]


def generate_launch_description():
    """Declare the arguments and what they start."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS),
            OpaqueFunction(function=start_node),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                namespace=LaunchConfiguration("namespace"),
                arguments=["-d", str(SHARE / "config" / "rviz" / "pose.rviz")],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
