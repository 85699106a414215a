"""A table written as CSV with one value a cell: an estimate, its error and the ends of its interval have columns of
their own, as has every seed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from benchmark.core import escape
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet

_N = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
# A cell that holds several values → what their columns are called after the title of the sheet's. The first is the
# reading; a cell of the column that is a word, or a value alone, stands there.
_SEVERAL: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple((re.compile(shape), names) for shape, names in (
    (rf"({_N}) ?± ?({_N})(?: (†))?", ("", ", standard error", ", mark")),
    (rf"({_N}) (†)", ("", ", mark")),
    (rf"({_N}) \(({_N}) to ({_N})\)", ("", ", 95 % from", ", 95 % to")),
    (rf"\[({_N}), ({_N})\]", (", from", ", to")),
    (rf"({_N}) → ({_N})", (", start", ", end")),
    (r"(<?\d\.\d+) \((<?\d\.\d+)\)", ("", ", Wilcoxon")),
    (r"(\d+) \((\d+) diverged\)", ("", ", diverged")),
    (r"(\d+) in A, (\d+) in B", (" in A", " in B"))))
_FIGURE = re.compile(_N)


def to_csv(shown: Table | Sheet) -> str:
    """Numbers without thousands separators; a reading that has no number holds its word. A table has one row a method
    and plain numbers to 10 digits."""
    return csv_text(_readings(shown) if isinstance(shown, Table) else _of_sheet(shown))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV of which no spreadsheet computes a cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(escape.csv_cell, row) for row in rows)
    return out.getvalue()


def _of_sheet(sheet: Sheet) -> list[list[str]]:
    columns: list[list[str]] = []
    for title, *cells in zip(sheet.header, *sheet.rows, strict=True):
        columns += _apart(title, cells)
    columns.append(["protocol note", *[sheet.reduced] * len(sheet.rows)])
    return [list(line) for line in zip(*columns, strict=True)]


def _apart(title: str, cells: Sequence[str]) -> list[list[str]]:
    """A column as one or more of one value a cell, each with its title."""
    shapes = [(shape, names) for shape, names in _SEVERAL if any(map(shape.fullmatch, cells))]
    name, bracket, unit = title.partition(" [")
    found = [[title, *map(_plain, cells)]]
    for shape, names in shapes:
        matches = [shape.fullmatch(cell) for cell in cells]
        parts = [[match[i + 1] or "" if match else "" for match in matches] for i in range(len(names))]
        for suffix, part in zip(names, parts, strict=True):
            if suffix == names[0]:
                found[0] = [f"{_bare(name)}{suffix}{bracket}{unit}",
                            *(_plain(value) if match else before for value, match, before in
                              zip(part, matches, found[0][1:], strict=True))]
            elif any(part):
                found.append([f"{_bare(name)}{suffix}{bracket}{unit}", *map(_plain, part)])
    return found


def _bare(name: str) -> str:
    """A title without the words that say what else its cells hold."""
    return name.removesuffix(" (95 % interval)").removesuffix(", π₀ → end")


def _plain(cell: str) -> str:
    return cell.replace(",", "") if _FIGURE.fullmatch(cell) else cell


def _exact(value: float | None) -> str:
    # Rounded first: the last bits of a mean depend on the machine, and would be all there is of a zero.
    return "" if value is None else f"{round(value, 10) + 0.0:.10g}"


def _readings(table: Table) -> list[list[object]]:
    """Header and lines of a table's CSV."""
    seeds = sorted({seed for row in table.rows for seed in row.seeds})
    header = ["task", "method", "n [runs]", "diverged [runs]"]
    for c in table.columns:
        unit = f" [{c.unit}]"
        header += [f"{c.key}_pi0{unit}"] if c.start else []
        header += [f"{c.key}_at [{c.at_unit}]"] if c.at is not None else []
        header += [f"{c.key}{unit}", f"{c.key}_sd{unit}", *(f"{c.key}_seed_{seed}{unit}" for seed in seeds)]
    lines: list[list[object]] = [[*header, "profile", "protocol note", "warnings"]]
    for row in table.rows:
        line: list[object] = [table.task, row.method, len(row.seeds), row.diverged]
        for c in table.columns:
            cell = row.cells[c.key]
            line += [_exact(cell.start)] if c.start else []
            line += [_exact(c.at)] if c.at is not None else []
            each = {seed: _exact(value) or ("diverged" if gone else "n/a")
                    for seed, value, gone in zip(row.seeds, cell.values, cell.lost, strict=False)}
            line += [cell.word or _exact(cell.mean), "" if cell.word else _exact(cell.sd),
                     *(each.get(seed, "") for seed in seeds)]
        lines.append([*line, table.profile, table.reduced, "; ".join(row.warnings)])
    return lines
