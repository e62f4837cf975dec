"""Settings: typed models, and one order in which their values are found.

A settings model is a frozen pydantic model whose fields carry unit in the name, bounds and a description. The node's
ROS parameters, the commands' `--set NAME=VALUE` and the documentation are made from the models. Values come from,
in this order, later ones winning: the models' defaults, `bundle.yaml`, the node's parameter file, the command line.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

DEFAULT = "default"  # origin of values that nobody set
Value = bool | int | float | str | tuple[float, ...] | tuple[str, ...]


class Settings(BaseModel):
    """Base of all settings models: immutable, finite, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Settings)


class SettingsError(ValueError):
    """A setting is unknown or has a bad value; the message names origin, setting, value and expectation."""


def setting(default: Any, description: str, *, at_run_time: bool = False, **limits: Any) -> Any:
    """Declare a field of a settings model.

    Args:
        default: value where nothing else is said.
        description: one sentence, with the unit.
        at_run_time: whether the value may change between frames.
        limits: bounds as pydantic's `Field` takes them: ge, gt, le, lt, pattern, min_length.
    """
    return Field(default=default, description=description, json_schema_extra={"at_run_time": at_run_time}, **limits)


@dataclass(frozen=True)
class SettingInfo:
    """What is known of one setting before it has a value."""

    name: str  # with dots, such as `attention.stages`
    type: type  # bool, int, float, str or tuple
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    above_minimum: bool = False  # the minimum itself is not allowed
    below_maximum: bool = False  # the maximum itself is not allowed
    choices: tuple[str, ...] = ()
    pattern: str = ""
    at_run_time: bool = False
    holds_texts: bool = False  # of a tuple: texts, not numbers

    @property
    def expected(self) -> str:
        """What values are good, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a list of texts" if self.type is tuple and self.holds_texts else _KINDS[self.type]
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and not self.above_minimum and not self.below_maximum:
            return f"{kind} from {low:g} to {high:g}"
        limits = [f"{'above' if self.above_minimum else 'of at least'} {low:g}"] if low is not None else []
        limits += [f"{'below' if self.below_maximum else 'at most'} {high:g}"] if high is not None else []
        limits += [f"that matches {self.pattern}"] if self.pattern else []
        return " ".join([kind, " and ".join(limits)]).rstrip()


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of numbers"}


@lru_cache(maxsize=256)  # every change of a parameter asks for all of them
def list_settings(model: type[Settings], prefix: str = "") -> tuple[SettingInfo, ...]:
    """List the settings of a model and of the models inside it, names joined with dots.

    Raises:
        TypeError: if a field has a type that ROS parameters do not have.
    """
    found: list[SettingInfo] = []
    for name, field in model.model_fields.items():
        full = f"{prefix}{name}"
        inner = nested_model(field)
        if inner is None:
            found.append(_info(full, field))
        elif field.default == inner():
            found += list_settings(inner, f"{full}.")
        else:  # what is given of a group is filled up from its own model
            raise TypeError(f"settings {full}: expected the defaults of {inner.__name__} and no others")
    return tuple(found)


def nested_model(field: FieldInfo) -> type[Settings] | None:
    """Return the model of a field that is a group of settings, None of one that is a single value."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None


def _info(name: str, field: FieldInfo) -> SettingInfo:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind, choices = _plain_type(name, field.annotation)
    low, above = _limit(field.metadata, "ge", "gt")
    high, below = _limit(field.metadata, "le", "lt")
    return SettingInfo(
        name=name,
        type=kind,
        default=field.default,
        description=field.description or "",
        minimum=low,
        maximum=high,
        above_minimum=above,
        below_maximum=below,
        choices=choices,
        pattern=next((item.pattern for item in field.metadata if getattr(item, "pattern", None)), ""),
        at_run_time=bool(extra.get("at_run_time", False)),
        holds_texts=field.annotation == tuple[str, ...],
    )


def _limit(metadata: Sequence[Any], closed: str, open_: str) -> tuple[float | None, bool]:
    """Return a limit and whether values must go beyond it."""
    for item in metadata:
        for name in (closed, open_):
            if getattr(item, name, None) is not None:
                return float(getattr(item, name)), name == open_
    return None, False


def _plain_type(name: str, annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the type of a setting and, where these are listed, the values that it may have."""
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if choices and all(isinstance(item, str) for item in choices):
        return str, choices
    if annotation in (bool, int, float, str):
        return annotation, ()
    if annotation in (tuple[float, ...], tuple[str, ...]):
        return tuple, ()
    raise TypeError(
        f"setting {name}: type {annotation}: expected bool, int, float, str, Literal of texts, tuple[float, ...] or "
        "tuple[str, ...]"
    )


@dataclass(frozen=True)
class Layer:
    """Values from one origin, by full name."""

    origin: str  # for messages, such as `models/lmo/bundle.yaml` or `--set`
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved(Generic[Model]):
    """A settings model with its values, and where each came from."""

    settings: Model
    origins: Mapping[str, str]  # full name to origin; DEFAULT where nobody set it


def resolve(model: type[Model], layers: Sequence[Layer], prefix: str = "") -> Resolved[Model]:
    """Fill a model from layers, later ones winning; names outside the prefix are ignored.

    Args:
        model: what is filled.
        layers: values by full name.
        prefix: of the names that belong to the model, such as `attention.`.

    Raises:
        SettingsError: if a value is bad.
    """
    origins = {item.name: DEFAULT for item in list_settings(model, prefix)}
    nested: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if name not in origins:
                continue
            origins[name] = layer.origin
            _insert(nested, name[len(prefix) :].split("."), _plain(value))
    try:
        return Resolved(model.model_validate(nested, strict=True), origins)
    except ValidationError as error:
        raise SettingsError(_complaint(model, prefix, origins, error)) from error


def _insert(nested: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        nested = nested.setdefault(part, {})
    nested[path[-1]] = value


def _plain(value: Any) -> Any:
    """Turn arrays and lists, as YAML and ROS have them, into what strict models take."""
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        return value
    return tuple(float(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value)


def _complaint(model: type[Settings], prefix: str, origins: Mapping[str, str], error: ValidationError) -> str:
    first = error.errors()[0]
    infos = {item.name: item for item in list_settings(model, prefix)}
    name = prefix + ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    message = first["msg"].removeprefix("Value error, ")
    if name not in infos:  # a rule between several settings: whoever set one of them may be wrong
        set_by = [origin for full, origin in origins.items() if full.startswith(name) and origin != DEFAULT]
        return f"{' and '.join(dict.fromkeys(set_by)) or DEFAULT}: {name.rstrip('.') or model.__name__}: {message}"
    if first["type"] == "finite_number":
        message = "expected a finite number"
    elif first["type"] != "value_error":
        message = f"expected {infos[name].expected}"
    if first["type"] == "string_pattern_mismatch":  # few people read regular expressions
        message += f" ({infos[name].description})"
    return f"{origins[name]}: {name} = {first['input']!r}: {message}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested names with dots, as ROS does when it reads a parameter file."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{prefix}{name}"
        flat.update(flatten(value, f"{full}.") if isinstance(value, Mapping) else {full: value})
    return flat


def refuse_unknown(names: Collection[str], known: Collection[str], origin: str) -> None:
    """Refuse names that no model has, with the nearest one that does.

    Raises:
        SettingsError: naming the first unknown name.
    """
    for name in names:
        if name not in known:
            raise SettingsError(f"{origin}: unknown setting {name!r}; {nearest(name, known)}")


def nearest(name: str, known: Collection[str]) -> str:
    """Say which known name is meant, or which there are: all, those of its group, or, of very many, the groups."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    expected = sorted(known)
    if len(expected) > 20:
        group = name.rpartition(".")[0] + "."
        expected = [item for item in expected if item.startswith(group)] or sorted(
            {item.partition(".")[0] for item in expected}
        )
    return f"expected one of {', '.join(expected)}"


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as ROS does and YAML 1.1 does not."""


class _Dumper(yaml.SafeDumper):
    """Puts texts into quotes that `_Loader` takes for numbers."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def load_yaml(text: str) -> Any:
    """Read YAML with the numbers that ROS reads.

    Raises:
        yaml.YAMLError: if it is none.
    """
    return yaml.load(text, Loader=_Loader)  # derived from SafeLoader


def dump_yaml(value: Value) -> str:
    """Write a value on one line, as both YAML and ROS read it back."""
    plain = list(value) if isinstance(value, tuple) else value
    written = yaml.dump(plain, Dumper=_Dumper, default_flow_style=True, default_style=_style(plain), width=math.inf)
    return written.removesuffix("...\n").rstrip()


def _style(value: Any) -> str | None:
    return '"' if isinstance(value, str) and not value.isprintable() else None


def parse_assignments(items: Sequence[str], option: str = "--set") -> Layer:
    """Read NAME=VALUE pairs of a command line; values are YAML: 200, 0.5, true, [0.1, 0.2], text.

    Raises:
        SettingsError: if one is no such pair.
    """
    values: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"{option} {item}: expected NAME=VALUE")
        try:
            values[name.strip()] = load_yaml(text) if text.strip() else ""
        except yaml.YAMLError as error:
            raise SettingsError(f"{option} {item}: {' '.join(str(error).split())}") from error
    return Layer(option, values)


def values_of(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Yield full name and value of every setting."""
    for info in list_settings(type(settings), prefix):
        value: Any = settings
        for part in info.name[len(prefix) :].split("."):
            value = getattr(value, part)
        yield info.name, value
