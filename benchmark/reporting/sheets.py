"""A finished table of text: what a page, a spreadsheet or a paper shows, whatever the numbers in it are."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    key: str
    title: str
    intro: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    reduced: str = ""
