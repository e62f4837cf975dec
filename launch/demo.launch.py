"""Play images of a BOP data set and find the poses in them: player, pose node and RViz.

ros2 launch pose_estimation_ros demo.launch.py
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parents[1]

# name, default, description
ARGUMENTS = (
    ("bop", str(SHARE / "models" / "demo" / "sequence"), "Folder of a data set in BOP layout."),
    ("bundle", "demo", "Folder of a bundle or name of a shipped one that knows the objects of the images."),
    ("params_file", "", "YAML file with parameters of the node, such as lines of config/pose.yaml; empty: none."),
    ("device", "auto", "auto, cpu, cuda or cuda:N."),
    ("rate", "5.0", "Images per second."),
    ("rviz", "true", "Start RViz (needs rviz2): true or false."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)


def generate_launch_description():
    """Declare the arguments and what they start."""
    passed_on = ("bundle", "params_file", "device", "rviz", "log_level")
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "pose.launch.py")),
                launch_arguments=[(name, LaunchConfiguration(name)) for name in passed_on],
            ),
            Node(
                package="pose_estimation_ros",
                executable="pose_play",
                arguments=[
                    "--bop",
                    LaunchConfiguration("bop"),
                    "--rate",
                    LaunchConfiguration("rate"),
                    "--loop",
                    "--wait-subscribers",
                    "1",
                ],
                output="screen",
            ),
        ]
    )
