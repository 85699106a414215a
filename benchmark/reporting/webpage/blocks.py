"""Tables of the page as plain text with what sorting and layout need; the template turns them into markup."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.core.fields import flat
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables import formats
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet

# Longer cells are prose: they wrap and stand to the left.
PROSE = 48
_NUMBER = re.compile(r"[+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?")
_WORD = re.compile(r"–|diverged|not reached|n/a|below noise", re.IGNORECASE)


@dataclass(frozen=True)
class PageCell:
    """One cell.

    Attributes:
        text: what it shows. detail: a second line, smaller (every seed).
        sort: the number it sorts by, as text that JavaScript's ``Number`` reads; empty for words, which come last.
        mark: CSS class of the method whose colour stands before the text. footnotes: marks after it.
    """

    text: str
    detail: str = ""
    sort: str = ""
    mark: str = ""
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PageTable:
    """One table: caption, header as (title, unit, kind) with kind "number" or "prose" or "", and rows of items."""

    caption: str
    header: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[PageCell, ...], ...]


@dataclass(frozen=True)
class Block:
    """A heading with its tables; ``key`` is the anchor, the rest as in ``Sheet`` and ``Table``."""

    key: str
    title: str
    intro: str
    reduced: str
    parts: tuple[PageTable, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[tuple[str, str], ...] = ()


def sort_key(text: str) -> str:
    """The number that ``text`` begins with, as ``Number`` reads it; empty where it begins with something else."""
    found = _NUMBER.match(text.strip())
    return found[0].replace(",", "").replace("−", "-").removeprefix("+") if found else ""


def of(shown: Table | Sheet, marks: Mapping[str, str]) -> Block:
    """``shown`` as a block; ``marks`` gives a method's label in a column "method" its CSS class."""
    if isinstance(shown, Sheet):
        return Block(shown.key, shown.title, shown.intro, shown.reduced, (_part(shown, marks, ""),), shown.notes)
    parts = tuple(_part(sheet, marks, sheet.intro) for sheet in formats.blocks(shown))
    return Block(f"task-{shown.task}", shown.title, f"Profile {shown.profile}.", shown.reduced, parts, shown.notes,
                 tuple(shown.footnotes.items()))


def _part(sheet: Sheet, marks: Mapping[str, str], caption: str) -> PageTable:
    header = tuple((*_unit(title), "" if i == 0 else "number" if sheet.numbers else _kind([r[i] for r in sheet.rows]))
                   for i, title in enumerate(sheet.header))
    rows = []
    for row, footnotes in itertools.zip_longest(sheet.rows, sheet.marks, fillvalue=()):
        items = [PageCell(text, sort=sort_key(text), mark=marks.get(text, "") if title == "method" else "",
                      footnotes=footnotes if i == 0 else ())
                 for i, (title, text) in enumerate(zip(sheet.header, row, strict=True))]
        rows.append(tuple(map(_split, items) if sheet.numbers else items))
    return PageTable(caption, header, tuple(rows))


def _split(item: PageCell) -> PageCell:
    """Every seed on a line of its own; a cell "π₀ → end" sorts by its end, where the methods differ."""
    shown, bracket, seeds = item.text.partition(" [")
    return replace(item, text=shown, detail=f"[{seeds}" if bracket else "", sort=sort_key(shown.split(" → ")[-1]))


def of_settings(results: Results, marks: Mapping[str, str]) -> Block:
    """Hyperparameters of every method; a method with different ones on different tasks has a row for each set."""
    rows = []
    for method in results.methods:
        tasks: dict[str, list[str]] = {}
        for run in (run for task in results.tasks for run in results.of(task, method)):
            if values := run.section("method"):
                where = tasks.setdefault(", ".join(f"{key} = {_plain(value)}" for key, value in values.items()), [])
                where.append(results.title(run.task))
        for settings, titles in tasks.items():
            named = "all" if len(tasks) == 1 else ", ".join(dict.fromkeys(titles))
            label = style.label(method)
            rows.append((PageCell(label, mark=marks.get(label, "")), PageCell(named), PageCell(settings)))
    header = (("method", "", ""), ("tasks", "", ""), ("hyperparameters", "", "prose"))
    tables = (PageTable("", header, tuple(rows)),) if rows else ()
    return Block("settings", "Hyperparameters of each method", "", "", tables)


def of_shared_settings(results: Results) -> Block:
    """Every other setting, one row each, one column a task: what the methods of a task have in common."""
    columns: list[dict[str, list[str]]] = []
    for task in results.tasks:
        column: dict[str, list[str]] = {}
        for run in results.of(task):
            for name, value in flat({key: value for key, value in run.config.items() if key != "method"}).items():
                column.setdefault(name, []).append(_plain(value))
        columns.append(column)
    names = list(dict.fromkeys(name for column in columns for name in column))
    # Runs that differ in a setting (such as the device) show all its values.
    rows = tuple(
        (PageCell(name), *(PageCell(" / ".join(dict.fromkeys(column.get(name, ["–"])))) for column in columns))
        for name in names
    )
    header = (("setting", "", ""), *((results.title(task), "", "prose") for task in results.tasks))
    return Block("shared-settings", "Settings that all methods of a task share", "", "",
                 (PageTable("", header, rows),) if rows else ())


def _unit(title: str) -> tuple[str, str]:
    """("reward increase", "r₀ score") of "reward increase [r₀ score]"."""
    name, bracket, unit = title.rpartition(" [")
    return (name, unit.removesuffix("]")) if bracket and unit.endswith("]") else (title, "")


def _kind(texts: Sequence[str]) -> str:
    if any(len(text) > PROSE for text in texts):
        return "prose"
    return "number" if all(sort_key(text) or _WORD.match(text) or not text for text in texts) else ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
