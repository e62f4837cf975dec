"""The node's settings of Fast DDS, and those that somebody else chose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rclpy

from pose_estimation_ros.ros.middleware_profile import VARIABLES, use_own_profile

OWN = Path(__file__).parents[2] / "config" / "fastdds" / "network.xml"


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_own_settings_are_taken_where_nobody_chose():
    use_own_profile()
    assert [Path(os.environ[name]) for name in VARIABLES] == [OWN, OWN]


@pytest.mark.parametrize("chosen", ["mine.xml", ""])
@pytest.mark.parametrize("name", VARIABLES)
def test_chosen_file_or_none_stays(monkeypatch: pytest.MonkeyPatch, name: str, chosen: str):
    monkeypatch.setenv(name, chosen)
    use_own_profile()
    assert {key: os.environ[key] for key in VARIABLES if key in os.environ} == {name: chosen}


def test_file_in_the_working_directory_stays(tmp_path: Path):
    tmp_path.joinpath("DEFAULT_FASTRTPS_PROFILES.xml").touch()
    use_own_profile()
    assert not any(name in os.environ for name in VARIABLES)


def test_every_node_of_a_command_takes_them():
    """Read from the process itself, after its first lines."""
    code = (
        "import importlib, os, types; from pose_estimation_ros.ros import start;"
        f"start.import_module = lambda name: types.SimpleNamespace(main=lambda: print(os.environ[{VARIABLES[0]!r}]));"
        "start.main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(OWN.parents[2]), *sys.path])}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert Path(ran.stdout.strip()) == OWN


@pytest.mark.skipif("fastrtps" not in rclpy.get_rmw_implementation_identifier(), reason="the middleware is another")
@pytest.mark.parametrize("spelt", ["leaseAnnouncement", "leaseAnouncement"])
def test_fast_dds_reads_the_file_and_has_nothing_to_say_of_it(tmp_path: Path, spelt: str):
    """It reports what it cannot read, such as a misspelt word, and goes on without."""
    file = tmp_path / "profile.xml"
    file.write_text(OWN.read_text().replace("leaseAnnouncement", spelt))
    code = "import rclpy; rclpy.init(); rclpy.create_node('profiled'); rclpy.shutdown()"
    environment = {**os.environ, **dict.fromkeys(VARIABLES, str(file)), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (spelt in ran.stderr + ran.stdout) == (spelt != "leaseAnnouncement")


def test_what_is_in_the_file_is_for_everything_that_the_node_makes():
    root = ElementTree.parse(OWN).getroot()
    assert len(root) == 2 and all(item.attrib["is_default_profile"] == "true" for item in root)
