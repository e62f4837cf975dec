"""pose_settings: what is in force, where it came from, and parameter files of the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pose_estimation_ros.cli.parameter_files import read_parameter_file
from pose_estimation_ros.cli.settings import main
from pose_estimation_ros.node_settings import known_parameters
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, save_bundle
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.settings import flatten

CUBE = ObjectModel(1, "cube", 0.1733, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("cube.ply"))


@pytest.fixture
def bundle(tmp_path) -> Path:
    settings = {"attention": {"stages": 6, "error_scale": 2.0}, "nemo": {"fit": {"steps": 9}}}
    save_bundle(Bundle(tmp_path / "bundle", "chosen", Catalog((CUBE,)), {}, PosePrior(), settings=settings))
    return tmp_path / "bundle"


@pytest.fixture
def write(tmp_path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        (tmp_path / "my.yaml").write_text(text)
        return tmp_path / "my.yaml"

    return write_file


@pytest.fixture
def rows(capsys) -> Callable[..., dict[str, tuple[str, str]]]:
    """Return a function that runs the command and returns value and origin of every setting in its table."""

    def run(*arguments: str) -> dict[str, tuple[str, str]]:
        assert main(list(arguments)) == 0
        cells = [[cell.strip() for cell in line.split("  ") if cell] for line in capsys.readouterr().out.splitlines()]
        return {row[0]: (row[1], row[2]) for row in cells}

    return run


@pytest.fixture
def refusal(capsys) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.count("\n") == 1
        return output.err.removeprefix("pose_settings: error: ").rstrip()

    return run


def test_everything_is_listed_with_defaults(rows):
    found = rows()
    assert list(found) == list(known_parameters())
    assert {origin for _, origin in found.values()} == {"default"}
    assert found["attention.stages"][0] == "4"
    assert found["tracking.enabled"][0] == "true"
    assert found["mesh_dir"][0] == "''"
    assert found["pix2pose.outlier_errors"][0] == "[0.15, 0.25, 0.35]"


def test_every_value_says_where_it_came_from(rows, bundle, write):
    file = write("/**:\n  ros__parameters:\n    attention: {stages: 3}\n    publish_tf: false\n    nemo: {seed: 1}\n")
    found = rows("--bundle", str(bundle), "--params-file", str(file), "--set", "nemo.seed=2", "--changed")
    assert found == {
        "bundle": (str(bundle), "--bundle"),
        "publish_tf": ("false", str(file)),
        "attention.stages": ("3", str(file)),
        "attention.error_scale": ("2.0", f"{bundle}/bundle.yaml"),
        "nemo.fit.steps": ("9", f"{bundle}/bundle.yaml"),
        "nemo.seed": ("2", "--set"),
    }


def test_the_parameter_file_names_the_bundle(rows, bundle, write):
    file = write(f"pose_estimation:\n  ros__parameters:\n    bundle: {bundle}\n")
    assert rows("--params-file", str(file))["nemo.fit.steps"] == ("9", f"{bundle}/bundle.yaml")


def test_groups_are_listed_alone(rows, refusal):
    assert list(rows("tracking.filter")) == [
        f"tracking.filter.{name}"
        for name in (
            "error_memory",
            "min_gain",
            "min_rest_gain",
            "rest_signal",
            "motion_deviations",
            "jump_diameters",
            "jump_rad",
            "gap_s",
        )
    ]
    assert rows("attention", "--changed") == {}
    assert refusal("atention").startswith("no setting begins with 'atention'; expected one of attention, autostart")


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("attention.stage=2", "--set: unknown setting 'attention.stage'; did you mean 'attention.stages'?"),
        ("attention.stages=two", "--set: attention.stages = 'two': expected a whole number from 1 to 32"),
        ("backend=nmo", "--set: backend = 'nmo': did you mean 'nemo'?"),
        ("publish_tf=false", "--set: unknown setting 'publish_tf'; expected"),  # the node has it, pipelines have not
        ("attention.stages", "--set attention.stages: expected NAME=VALUE"),
    ],
)
def test_bad_assignments_are_refused(refusal, assignment, reason):
    assert refusal("--set", assignment).startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("/**:\n  ros__parameters:\n    bakend: nemo\n", "unknown setting 'bakend'; did you mean 'backend'?"),
        ("/**:\n  ros__parameters:\n    image_transport: pigeon\n", "image_transport = 'pigeon': expected one of raw"),
        ("camera:\n  ros__parameters:\n    rate: 3\n", "says something of /camera; expected pose_estimation or /**"),
        ("backend: nemo\n", "expected a parameter file of ROS 2: NODE: ros__parameters: NAME: VALUE"),
        ("- 1\n", "expected a parameter file of ROS 2"),
        ("", "expected a parameter file of ROS 2"),
        ("/**:\n  ros__parameters: 3\n", "expected a parameter file of ROS 2"),
        ("a: [1,\n", "while parsing a flow node"),
    ],
)
def test_bad_parameter_files_are_refused_by_name(refusal, write, content, reason):
    file = write(content)
    assert refusal("--params-file", str(file)).startswith(f"{file}: {reason}")


def test_missing_files_and_bundles_are_named(refusal, tmp_path):
    assert str(tmp_path / "gone.yaml") in refusal("--params-file", str(tmp_path / "gone.yaml"))
    assert "no bundle.yaml" in refusal("--bundle", "no_such_bundle")


def test_sections_of_the_node_are_read_whatever_its_namespace(write):
    file = write(
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    device: cpu\n"
        "/arm/pose_estimation:\n  ros__parameters:\n    attention: {stages: 2}\n"
        "left:\n  pose_estimation:\n    ros__parameters:\n      backend: nemo\n"
        "/*/camera:\n  ros__parameters:\n    rate: 3\n"
    )
    layer = read_parameter_file(file)
    assert layer.origin == str(file)
    assert layer.values == {"use_sim_time": True, "device": "cpu", "attention.stages": 2, "backend": "nemo"}


def test_a_written_parameter_file_is_read_back(bundle, write, capsys, rows):
    changes = ["--set", "tracking.filter.gap_s=2e-5", "--set", "mesh_dir='on'", "--set", "pix2pose.outlier_errors=[1]"]
    before = rows("--bundle", str(bundle), *changes)
    assert main(["--bundle", str(bundle), *changes, "--format", "yaml"]) == 0
    file = write(capsys.readouterr().out)
    assert flatten(yaml.safe_load(file.read_text()))["/**.ros__parameters.mesh_dir"] == "on"
    after = rows("--params-file", str(file))
    assert {name: value for name, (value, _) in after.items()} == {name: value for name, (value, _) in before.items()}
    assert {origin for _, origin in after.values()} == {str(file)}


def test_a_parameter_file_may_hold_what_was_changed_only(capsys, write):
    assert main(["--set", "nemo.fit.steps=3", "--set", "backend=nemo", "--changed", "--format", "yaml"]) == 0
    assert read_parameter_file(write(capsys.readouterr().out)).values == {"backend": "nemo", "nemo.fit.steps": 3}
