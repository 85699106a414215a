"""A finished table of text: what a page, a spreadsheet or a paper shows, whatever the numbers in it are."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.reporting.read.aggregate import Estimate


@dataclass(frozen=True)
class Sheet:
    """A table whose cells are final: numbers with their digits, or words such as "not reached".

    Attributes:
        key: file name without suffix (``table_<key>.csv``) and anchor on the page.
        title: heading. intro: one sentence that says what is compared and how to read it.
        header: (columns,) titles with units in brackets; the first names the rows.
        rows: (rows, columns) cells.
        notes: sentences under the table: n, what an interval covers, where a number comes from.
        reduced: the words that a table with too few seeds carries, else empty.
        marks: (rows,) marks of each row's footnotes; empty for none.
        numbers: whether every column but the first holds numbers, however long their cells are.
    """

    key: str
    title: str
    intro: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    reduced: str = ""
    marks: tuple[tuple[str, ...], ...] = ()
    numbers: bool = False


def decimal(value: float, digits: int, signed: bool = False) -> str:
    """``value`` with thousands separators; one that rounds to zero has no sign to show."""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    return text.lstrip("+-") if not any(c in "123456789" for c in text) else text


def with_interval(estimate: Estimate, digits: int, signed: bool = False) -> str:
    """``0.84 (0.72 to 1.08)``; without brackets where there is no interval."""
    text = decimal(estimate.value, digits, signed)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({decimal(estimate.low, digits, signed)} to {decimal(estimate.high, digits, signed)})"
