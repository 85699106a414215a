"""Several settings of one method in one folder: rows of their own, named after the hyperparameters they differ in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from baselines.registry import find
from benchmark.core.errors import ConfigError
from benchmark.core.sections import LATER
from benchmark.plan.resolve import load_profile, profiles
from benchmark.reporting.read.runs import FinishedRun

LONGEST = 40  # characters of a value in a name
UNSAFE = re.compile(r"[^\w.+-]")  # a name is part of pages and pictures, and values come from files


def named(folders: Sequence[Sequence[FinishedRun]]) -> list[list[FinishedRun]]:
    """The runs of ``folders`` with the names of their rows: ``dpo``, and ``dpo (loss = ipo)`` beside it.

    A method has variants where the runs of one task, in one folder, differ in its hyperparameters; the names are the
    same in all folders. The plain name stays with the values that the profile gives.
    """
    apart: dict[str, set[str]] = {}
    for runs in folders:
        groups: dict[tuple[str, str], list[dict[str, str]]] = {}
        for run in runs:
            groups.setdefault((run.task, run.identity.method), []).append(_values(run))
        for (_, method), found in groups.items():
            names = set().union(*found)
            apart.setdefault(method, set()).update(
                name for name in names if len({values.get(name) for values in found}) > 1)
    return [[replace(run, variant=_variant(run, sorted(apart[run.identity.method]))) for run in runs]
            for runs in folders]


def order(methods: Iterable[str], known: Sequence[str]) -> list[str]:
    """``methods`` in the order of ``known``, others last, alphabetically; variants follow their method, by value."""
    def place(name: str) -> tuple[Any, ...]:
        base, _, variant = name.partition(" (")
        values = [(0, float(text), "") if _is_number(text) else (1, 0.0, text)
                  for text in re.findall(r" = ([^;)]*)", variant)]
        return (known.index(base) if base in known else len(known), base, values)

    return sorted(methods, key=place)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(run: FinishedRun) -> dict[str, str]:
    found = run.settings.get("method")
    return {name: _text(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    text = f"{value:.12g}" if type(value) in (int, float) else str(value)  # 1 and 1.0 are one value
    return UNSAFE.sub("_", text)[:LONGEST]


def _variant(run: FinishedRun, names: Sequence[str]) -> str:
    if not names:
        return ""
    values = {name: _text(before({})) for name, before in LATER["method"].items()} | _values(run)
    mine = {name: values.get(name, "missing") for name in names}
    usual = _usual(run)
    if all(mine[name] == usual.get(name) for name in names):
        return ""
    listed = "; ".join(f"{UNSAFE.sub('_', name)} = {value}" for name, value in mine.items())
    return f" ({listed})"


def _usual(run: FinishedRun) -> dict[str, str]:
    """What the profile gives the method; nothing where profile or method are not known here."""
    profile, method = run.identity.profile, find(run.identity.method)
    if method is None or profile not in profiles():
        return {}
    try:
        return {name: _text(value) for name, value in method.resolved(load_profile(profile).methods).items()}
    except ConfigError:  # a profile whose search has since been removed
        return {}
