"""Fields of settings and records: declared with a help line; those of settings are checked and filled from text."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Collection, Mapping
from dataclasses import Field, field, replace
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name


def coerce(kind: Any, name: str, value: Any, metadata: Any, origin: str) -> Any:
    """Return ``value`` as ``kind`` (int, float, bool or str; text is parsed).

    Raises:
        ConfigError: names ``origin`` and the key, and says what the key takes.
    """
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    error = ConfigError(f"{origin}: {name} takes {wanted}, not {value!r}.")
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower().replace("_", "")
        try:
            value = {"true": True, "false": False}[text] if kind is bool else float(text)
        except (KeyError, ValueError):
            raise error from None
    if (kind is str and not isinstance(value, str)) or (kind is bool and not isinstance(value, bool)):
        raise error
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise error
        if kind is int and int(value) != value:
            raise error
        value = kind(value)
        if metadata.get("minimum") is not None and value < metadata["minimum"]:
            raise ConfigError(f"{origin}: {name} must be at least {metadata['minimum']:g}, not {value:g}.")
    if metadata.get("choices") and value not in metadata["choices"]:
        raise ConfigError(f"{origin}: {name} takes one of {', '.join(metadata['choices'])}, not {value!r}.")
    return value


def fill(cls: type, current: Any, values: dict[str, Any], origin: str, prefix: str) -> Any:
    """Return the dataclass ``current`` of type ``cls`` with ``values`` checked and put in."""
    values = checked(fields_of(cls), values, origin, prefix, "key")
    try:
        return replace(current, **values)
    except ConfigError as error:  # fields that do not go together
        raise ConfigError(f"{origin}: {error}") from None


def fields_of(*classes: type) -> dict[str, Field]:
    """Every field of the dataclasses by name, with its type resolved."""
    return {name: spec for cls in classes for name, spec in _fields(cls).items()}


@functools.cache
def _fields(cls: type) -> dict[str, Field]:
    hints, found = typing.get_type_hints(cls), {}
    for spec in dataclasses.fields(cls):
        spec.type = hints[spec.name]
        found[spec.name] = spec
    return found


def checked(fields: dict[str, Field], values: dict[str, Any], origin: str, prefix: str, what: str) -> dict[str, Any]:
    """``values`` with names and types checked; ConfigError names the key, its owner ``prefix`` and what it takes."""
    for key in values:
        check_name(key, fields, f"{what} of {prefix} in {origin}")
    return {key: coerce(fields[key].type, f"{prefix}.{key}", value, fields[key].metadata, origin)
            for key, value in values.items()}


def option(default: Any, help: str, choices: Collection[str] = (), minimum: float | None = None,
           source: str = "") -> Any:
    """A field of settings with its help line, what values it takes, and where its default comes from."""
    return field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum, "source": source})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one: ``{"loop": {"iterations": 4}}`` → ``{"loop.iterations": 4}``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def entry(help: str, unit: str = "", keys: Mapping[str, tuple[str, str]] | None = None, spread: bool = False,
          **default: Any) -> Any:
    """A field of a record with its help line.

    Args:
        keys: those of an open set that are known → unit, help line.
        spread: whether they stand beside the record's other fields, not in an object of their own.
    """
    return field(**default, metadata={"help": help, "unit": unit, "keys": keys or {}, "spread": spread})
