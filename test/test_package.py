"""The package is whole: versions agree, what is declared exists, what is imported is declared."""

from __future__ import annotations

import ast
import configparser
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

# Packages that are installed under another name than they are imported by.
INSTALLED_AS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mcap_ros2": "mcap-ros2-support",
    "warp": "warp-lang",
    "yaml": "pyyaml",
}
# What every installation of rclpy brings along.
WITH_RCLPY = {"rclpy", "rpyutils"}


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


def foreign_imports(folder: Path) -> set[str]:
    names = set().union(*(imported_by(path) for path in folder.rglob("*.py")))
    return names - set(sys.stdlib_module_names) - {"pose_estimation_ros", "__future__"}


def is_ros(name: str) -> bool:
    """Say whether a module comes from ROS rather than from a Python package index."""
    return name.endswith("_msgs") or name.endswith("_srvs") or name in WITH_RCLPY | {
        "ament_index_python", "cv_bridge", "message_filters", "rcl_interfaces", "tf2_ros", "tf_transformations"
    }  # fmt: skip


def test_versions_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    version = pose_estimation_ros.__version__
    assert run_setup(monkeypatch)["version"] == version
    assert MANIFEST.findtext("version") == version
    assert re.search(rf"^{re.escape(version)}\b", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)


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


def test_manifest_declares_every_ros_package_that_is_imported() -> None:
    declared = {element.text for element in MANIFEST if element.tag.endswith("depend")}
    imported = {name for name in foreign_imports(PACKAGE) if is_ros(name)}
    assert imported - declared == set()
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("export/build_type") == "ament_python"


def test_requirements_pin_every_library_that_is_imported() -> None:
    pins: dict[str, list[str]] = {}
    for line in REQUIREMENTS.read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.match(r"[A-Za-z0-9_.-]+==[\w.]+( ; python_version [<>]=? \"3\.\d+\")?$", line), line
            pins.setdefault(line.split("==")[0].lower(), []).append(line)
    imported = {name for name in foreign_imports(PACKAGE) if not is_ros(name)}
    missing = {name for name in imported if INSTALLED_AS.get(name, name).lower() not in pins}
    assert missing == set()


def test_message_packages_name_every_message_they_hold() -> None:
    for manifest in (ROOT / "interfaces").glob("*/package.xml"):
        listed = set(re.findall(r"msg/\w+\.msg", (manifest.parent / "CMakeLists.txt").read_text()))
        present = {str(path.relative_to(manifest.parent)) for path in manifest.parent.glob("msg/*.msg")}
        assert listed == present
        assert ElementTree.parse(manifest).findtext("name") == manifest.parent.name
