"""Settings: typed models, and one order in which their values are found.

A settings model is a frozen pydantic model whose fields carry unit in the name, bounds and a description. The node's
ROS parameters, the commands' `--set NAME=VALUE` and the documentation are made from the models. Values come from,
in this order, later ones winning: the models' defaults, `bundle.yaml`, the node's parameter file, the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

DEFAULT = "default"  # origin of values that nobody set
Value = bool | int | float | str | tuple[float, ...]


class Settings(BaseModel):
    """Base of all settings models: immutable, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    type: type  # bool, int, float, str or tuple (of floats)
    default: Value
    description: str
    minimum: float | None = None  # inclusive, or the limit that must be exceeded, see `expected`
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    at_run_time: bool = False

    @property
    def expected(self) -> str:
        """What values are good, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = _KINDS[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{kind} of at least {self.minimum:g}"
        if self.maximum is not None:
            return f"{kind} of at most {self.maximum:g}"
        return kind + (f" that matches {self.pattern}" if self.pattern else "")


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of numbers"}


def list_settings(model: type[Settings], prefix: str = "") -> list[SettingInfo]:
    """List the settings of a model and of the models inside it, names joined with dots."""
    found: list[SettingInfo] = []
    for name, field in model.model_fields.items():
        full = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            found += list_settings(field.annotation, f"{full}.")
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        low, high = _limit(field.metadata, "ge", "gt"), _limit(field.metadata, "le", "lt")
        pattern = next((item.pattern for item in field.metadata if getattr(item, "pattern", None)), "")
        found.append(
            SettingInfo(
                name=full,
                type=str if choices else _plain_type(field.annotation),
                default=field.default,
                description=field.description or "",
                minimum=low,
                maximum=high,
                choices=tuple(str(item) for item in choices),
                pattern=pattern,
                at_run_time=bool(extra.get("at_run_time", False)),
            )
        )
    return found


def _limit(metadata: Sequence[Any], closed: str, open_: str) -> float | None:
    found = (getattr(item, name, None) for item in metadata for name in (closed, open_))
    return next((float(value) for value in found if value is not None), None)


def _plain_type(annotation: Any) -> type:
    kind = get_origin(annotation) or annotation
    if kind not in _KINDS:
        raise TypeError(f"settings of type {annotation}: expected bool, int, float, str, Literal or tuple[float, ...]")
    return kind


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
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return tuple(float(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value)


def _complaint(model: type[Settings], prefix: str, origins: Mapping[str, str], error: ValidationError) -> str:
    first = error.errors()[0]
    infos = {item.name: item for item in list_settings(model, prefix)}
    parts = [str(part) for part in first["loc"] if not isinstance(part, int)]
    name = prefix + ".".join(parts)
    origin = origins.get(name, DEFAULT)
    if origin == DEFAULT:  # a rule between several settings
        origin = next((item for item in origins.values() if item != DEFAULT), DEFAULT)
    message = first["msg"].removeprefix("Value error, ")
    if name in infos and first["type"] != "value_error":
        message = f"expected {infos[name].expected}"
    given = f"{name} = {first.get('input')!r}: " if name in infos else f"{name.rstrip('.')}: " if name else ""
    return f"{origin}: {given}{message}"


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
    """Say which known name is meant, or which there are."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    groups = sorted({item.partition(".")[0] for item in known}) if len(known) > 20 else sorted(known)
    return f"expected one of {', '.join(groups)}"


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
            values[name.strip()] = yaml.safe_load(text) if text.strip() else ""
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
