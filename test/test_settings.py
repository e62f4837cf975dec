"""Settings: where values come from, which are refused, and what is said then."""

from __future__ import annotations

from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from pose_estimation_ros.settings import (
    DEFAULT,
    Layer,
    Settings,
    SettingsError,
    dump_yaml,
    flatten,
    list_settings,
    load_yaml,
    nearest,
    parse_assignments,
    refuse_unknown,
    resolve,
    setting,
    values_of,
)


class Lens(Settings):
    """What the light goes through."""

    focus_m: float = setting(1.5, "Distance that is sharp, metres.", gt=0.0)
    blades: int = setting(6, "Blades of the aperture.", ge=3, le=12)


class Camera(Settings):
    """What takes the pictures."""

    mode: Literal["manual", "programme"] = setting("manual", "Who decides.")
    name: str = setting("front", "Where it hangs.", pattern=r"^[a-z]+$")
    flash: bool = setting(False, "Light up the scene.", at_run_time=True)
    gain: float = setting(0.5, "Amplification.", ge=0.0, lt=1.0)
    steps: tuple[float, ...] = setting((0.5, 1.0), "Exposures of a series, seconds.")
    weights: tuple[float, ...] = setting((1.0, 2.0), "One for each exposure.")
    lens: Lens = Lens()

    @model_validator(mode="after")
    def _series_is_complete(self) -> Camera:
        if len(self.steps) != len(self.weights):
            raise ValueError("steps and weights: expected as many of each")
        return self


NAMES = ["mode", "name", "flash", "gain", "steps", "weights", "lens.focus_m", "lens.blades"]


def values(*layers: Layer) -> dict:
    return dict(values_of(resolve(Camera, layers).settings))


def test_models_are_listed_with_all_that_is_known_of_them():
    infos = {item.name: item for item in list_settings(Camera)}
    assert list(infos) == NAMES
    assert [infos[name].type for name in NAMES] == [str, str, bool, float, tuple, tuple, float, int]
    assert infos["mode"].choices == ("manual", "programme")
    assert infos["lens.focus_m"].default == 1.5
    assert infos["lens.focus_m"].description == "Distance that is sharp, metres."
    assert [name for name in NAMES if infos[name].at_run_time] == ["flash"]


def test_what_is_expected_is_said_in_words():
    expected = {item.name: item.expected for item in list_settings(Camera)}
    assert expected == {
        "mode": "one of manual, programme",
        "name": "a text that matches ^[a-z]+$",
        "flash": "true or false",
        "gain": "a number of at least 0 and below 1",
        "steps": "a list of numbers",
        "weights": "a list of numbers",
        "lens.focus_m": "a number above 0",
        "lens.blades": "a whole number from 3 to 12",
    }


def test_models_are_listed_below_a_prefix():
    assert [item.name for item in list_settings(Lens, "left.lens.")] == ["left.lens.focus_m", "left.lens.blades"]


@pytest.mark.parametrize("kind", [float | None, tuple[int, ...], tuple[float, float], list[float], Literal[1, 2]])
def test_types_that_ros_parameters_do_not_have_are_refused(kind):
    class Strange(Settings):
        thing: kind = setting(None, "Nobody knows.")

    with pytest.raises(TypeError, match=r"setting thing: type .*: expected bool, int, float, str, Literal"):
        list_settings(Strange)


def test_groups_with_defaults_of_their_own_are_refused():
    class Binoculars(Settings):
        left: Lens = Lens(blades=5)

    with pytest.raises(TypeError, match="settings left: expected the defaults of Lens and no others"):
        list_settings(Binoculars)


def test_later_layers_win_and_every_value_knows_its_origin():
    bundle = Layer("bundle.yaml", {"gain": 0.1, "name": "left", "lens.blades": 5})
    command = Layer("--set", {"gain": 0.2, "lens.blades": 7})
    found = resolve(Camera, [bundle, command])
    assert (found.settings.gain, found.origins["gain"]) == (0.2, "--set")
    assert (found.settings.name, found.origins["name"]) == ("left", "bundle.yaml")
    assert (found.settings.lens.blades, found.origins["lens.blades"]) == (7, "--set")
    assert (found.settings.lens.focus_m, found.origins["lens.focus_m"]) == (1.5, DEFAULT)


@given(st.lists(st.dictionaries(st.sampled_from(["gain", "lens.focus_m"]), st.floats(0.01, 0.99)), max_size=4))
def test_the_last_layer_that_says_something_wins(contents):
    found = resolve(Camera, [Layer(f"layer {number}", content) for number, content in enumerate(contents)])
    for name, default, value in (
        ("gain", 0.5, found.settings.gain),
        ("lens.focus_m", 1.5, found.settings.lens.focus_m),
    ):
        says = [(f"layer {number}", content[name]) for number, content in enumerate(contents) if name in content]
        assert (found.origins[name], value) == (says[-1] if says else (DEFAULT, default))


def test_values_below_a_prefix_reach_the_model_and_others_do_not():
    found = resolve(Lens, [Layer("file", {"lens.blades": 4, "gain": 0.3})], "lens.")
    assert found.settings.blades == 4
    assert set(found.origins) == {"lens.blades", "lens.focus_m"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gain", "0.2", "gain = '0.2': expected a number of at least 0 and below 1"),
        ("gain", True, "gain = True: expected a number of at least 0 and below 1"),
        ("gain", 1.0, "gain = 1.0: expected a number of at least 0 and below 1"),
        ("gain", None, "gain = None: expected a number of at least 0 and below 1"),
        ("lens.focus_m", 0.0, "lens.focus_m = 0.0: expected a number above 0"),
        ("lens.focus_m", float("inf"), "lens.focus_m = inf: expected a finite number"),
        ("lens.blades", 6.0, "lens.blades = 6.0: expected a whole number from 3 to 12"),
        ("lens.blades", 13, "lens.blades = 13: expected a whole number from 3 to 12"),
        ("flash", 1, "flash = 1: expected true or false"),
        ("flash", "true", "flash = 'true': expected true or false"),
        ("mode", "auto", "mode = 'auto': expected one of manual, programme"),
        ("name", 5, "name = 5: expected a text that matches ^[a-z]+$"),
        ("name", "Front", "name = 'Front': expected a text that matches ^[a-z]+$ (Where it hangs.)"),
        ("steps", 0.5, "steps = 0.5: expected a list of numbers"),
        ("steps", "0.5", "steps = '0.5': expected a list of numbers"),
        ("steps", [0.5, "long"], "steps = 'long': expected a list of numbers"),
        ("steps", [0.5, True], "steps = True: expected a list of numbers"),
    ],
)
def test_bad_values_are_refused_with_origin_name_value_and_expectation(name, value, said):
    with pytest.raises(SettingsError) as error:
        resolve(Camera, [Layer("models/x/bundle.yaml", {name: value})])
    assert str(error.value) == f"models/x/bundle.yaml: {said}"


def test_the_origin_is_that_of_the_value_that_won():
    with pytest.raises(SettingsError, match="^--set: gain = 2.0"):
        resolve(Camera, [Layer("bundle.yaml", {"gain": 3.0}), Layer("--set", {"gain": 2.0})])
    assert values(Layer("bundle.yaml", {"gain": 3.0}), Layer("--set", {"gain": 0.2}))["gain"] == 0.2


def test_a_rule_between_settings_names_everybody_who_set_some():
    layers = [Layer("bundle.yaml", {"steps": [1.0]}), Layer("--set", {"gain": 0.1})]
    with pytest.raises(SettingsError, match=r"^--set and bundle.yaml: Camera: steps and weights: expected as many"):
        resolve(Camera, layers)
    with pytest.raises(SettingsError, match=r"^bundle.yaml: left: steps and weights"):
        resolve(Camera, [Layer("bundle.yaml", {"left.steps": [1.0]})], "left.")


def test_whole_numbers_are_numbers():
    found = values(Layer("file", {"lens.focus_m": 2, "steps": [1, 2.5], "weights": (3, 4)}))
    assert (found["lens.focus_m"], found["steps"], found["weights"]) == (2.0, (1.0, 2.5), (3.0, 4.0))
    assert [type(item) for item in (found["lens.focus_m"], *found["steps"], *found["weights"])] == [float] * 5


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_lists_arrive_whole(numbers):
    found = values(Layer("file", {"steps": numbers, "weights": numbers}))
    assert found["steps"] == tuple(numbers)


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        resolve(Camera, []).settings.gain = 0.9


def test_nested_values_are_joined_with_dots():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": 0.5, "f": {}}) == {"a.b.c": 1, "a.d": [1, 2], "e": 0.5}


def test_unknown_names_are_refused_with_the_nearest_known_one():
    refuse_unknown({"gain": 3, "lens.blades": 4}, NAMES, "--set")
    with pytest.raises(SettingsError, match=r"^my.yaml: unknown setting 'lens.blade'; did you mean 'lens.blades'\?$"):
        refuse_unknown({"lens.blade": 3}, NAMES, "my.yaml")


def test_where_nothing_is_near_the_known_names_are_listed():
    assert nearest("zoom", ["gain", "flash"]) == "expected one of flash, gain"
    many = [f"group{number}.setting{letter}" for number in range(5) for letter in "abcdefg"]
    assert nearest("zoom", many) == "expected one of group0, group1, group2, group3, group4"
    assert nearest("group3.zoom_level", many).startswith("expected one of group3.settinga, group3.settingb")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gain=0.25", 0.25),
        ("gain=1e-3", 1e-3),
        ("gain=-2.5E+2", -250.0),
        ("gain=200", 200),
        ("gain=true", True),
        ("gain=text", "text"),
        ("gain=", ""),
        ("gain=''", ""),
        ("gain='1e3'", "1e3"),
        ("gain=cuda:0", "cuda:0"),
        ("gain=a=b", "a=b"),
        ("gain=[0.1, 2, 1e-3]", [0.1, 2, 1e-3]),
        ("gain=[]", []),
        (" gain = 5", 5),
    ],
)
def test_assignments_are_read_as_yaml(text, value):
    layer = parse_assignments([text])
    assert (layer.origin, layer.values) == ("--set", {"gain": value})
    assert type(layer.values["gain"]) is type(value)


def test_of_two_assignments_the_last_counts():
    assert parse_assignments(["gain=1", "gain=2"]).values == {"gain": 2}


@pytest.mark.parametrize("text", ["gain", "=3", " =3"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(SettingsError, match=f"^--set {text}: expected NAME=VALUE"):
        parse_assignments([text])


def test_bad_yaml_is_refused_in_one_line():
    with pytest.raises(SettingsError, match=r"^--with gain=\[1, 2: .*") as error:
        parse_assignments(["gain=[1, 2"], "--with")
    assert "\n" not in str(error.value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans())
def test_yaml_is_read_back_as_it_was_written(value):
    for text in (yaml.safe_dump(value), repr(value).lower()):
        assert load_yaml(text) == value
        assert type(load_yaml(text)) is type(value)


@given(st.text("0123456789.+-eE_xinfatrueyonN ", max_size=8) | st.text(max_size=8))
def test_texts_are_written_on_one_line_and_read_back_as_texts(text):
    written = dump_yaml(text)
    assert "\n" not in written
    assert load_yaml(written) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "''"),
        ("off", "'off'"),
        ("1e3", "'1e3'"),
        (1e-5, "1.0e-05"),
        (1.0, "1.0"),
        (True, "true"),
        ((1.0,), "[1.0]"),
    ],
)
def test_values_are_written_as_ros_reads_them(value, text):
    assert dump_yaml(value) == text


def test_yaml_that_would_run_code_is_refused():
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")
