"""Records from the files of a run directory, checked before anything is computed from them: they may come from
anywhere."""

from __future__ import annotations

import types
import typing
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmark.core.errors import AGAIN, BenchmarkError
from benchmark.core.fields import fields_of
from benchmark.core.files import json_object, read_object, read_text
from benchmark.core.records import Failure

LARGEST = 1e30  # sums and squares of what is read must stay finite
WORDS = {dict: "an object", tuple: "a list", float: "a number below 10³⁰", int: "a whole number below 10³⁰",
         str: "a text", bool: "true or false"}
R = TypeVar("R")


def read(cls: type[R], value: dict[str, Any], place: str, name: str = "") -> R:
    """The object ``value`` of a file as a record of type ``cls``; what the record does not know is left out.

    Args:
        place: how a message names it, for example ``RUN/curve.jsonl, line 3``. name: of the object within it.

    Raises:
        BenchmarkError: something else stands where an object, a list, a number or a text belongs, or what every file
            has is missing; names it.
    """
    found, known = {}, fields_of(cls)
    for key, spec in known.items():
        if spec.metadata.get("spread"):
            others = {other: item for other, item in value.items() if other not in known}
            found[key] = _typed(spec.type, others, place, name)
        else:
            found[key] = _typed(spec.type, value.get(key), place, f"{name}.{key}".lstrip("."))
    return cls(**found)


def read_file(cls: type[R], path: Path) -> R:
    """The record in a JSON file, checked."""
    return read(cls, read_object(path), f"{path.parent.name}/{path.name}")


def read_failure(folder: Path) -> Failure | None:
    """Why the last attempt at a run ended, if its directory says so."""
    path = folder / "error.json"
    return read_file(Failure, path) if path.is_file() else None


def read_lines(cls: type[R], path: Path) -> tuple[R, ...]:
    """The records of a log, checked; none if it is not there."""
    if not path.is_file():
        return ()
    whole, place = read_text(path)
    places = ((text, f"{place}, line {number}") for number, text in enumerate(whole.split("\n"), 1) if text.strip())
    return tuple(read(cls, json_object(text, line), line) for text, line in places)


def _typed(kind: Any, value: Any, place: str, name: str) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if Any in kinds or (value is None and types.NoneType in kinds):
        return value
    plain: list[type] = [typing.get_origin(option) or option for option in kinds]
    for option, base in zip(kinds, plain, strict=True):
        record = is_dataclass(option)
        if value is None and (base in (dict, tuple) or record):
            value = () if base is tuple else {}
        if record and isinstance(value, dict):
            return read(base, value, place, name) if value or len(kinds) == 1 else None
        if base is dict and isinstance(value, dict):
            of = typing.get_args(option)[1]
            return {key: _typed(of, item, place, f"{name}.{key}".lstrip(".")) for key, item in value.items()}
        if base is tuple and isinstance(value, list | tuple):
            return tuple(_typed(typing.get_args(option)[0], item, place, name) for item in value)
        if base in (bool, str) and isinstance(value, base):
            return value
        if base in (int, float) and type(value) in (int, base) and abs(value) < LARGEST:
            return value
    words = " or ".join(WORDS.get(base, WORDS[dict]) for base in plain if base is not types.NoneType)
    raise BenchmarkError(f"{place}: {name} is {'missing' if value is None else f'not {words}'}. {AGAIN}")
