"""A table of ``tables`` or a ``Sheet`` written down: CSV, Markdown, LaTeX (booktabs), plain text for a terminal."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence

from benchmark.core import escape
from benchmark.core.terminal import aligned
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.per_task import GROUPS, Column, Row, Table, TableCell
from benchmark.reporting.tables.sheets import Sheet, decimal
from benchmark.reporting.tables.spreadsheet import to_csv

# Shrinks what is wider than the line and leaves the rest at its size.
_SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"

_LONG = 40  # characters from which a column of words is set in lines
# Columns of the overall sheet that fit a terminal.
_OF_A_TERMINAL = ("method", "gold", "win rate", "reward", "KL", "better than", "n [")


def figure(value: float | None, column: Column, lost: bool = False) -> str:
    """One number as a table shows it, or the word that stands for it."""
    if value is None:
        return "diverged" if lost else "n/a"
    if column.scientific:
        return f"{value:.1e}"
    return decimal(value, column.digits, column.signed)


def cell_text(cell: TableCell, column: Column) -> str:
    """A cell in words: ``+0.410 ±0.042 [+0.380 +0.440]`` or ``-3.290 → -1.100``."""
    if cell.word:
        text = cell.word
        if column.seeds and not all(cell.lost) and len(cell.values) > 1:
            text += f" [{_seed_list(cell, column)}]"
    else:
        text = figure(cell.mean, column)
        if column.seeds and len(cell.values) > 1:
            text += f" ±{cell.sd:.{column.digits}f} [{_seed_list(cell, column)}]"
    if column.start is not None:
        text = f"{figure(cell.start, column)} → {text}"
    return text


def _seed_list(cell: TableCell, column: Column) -> str:
    return " ".join(figure(v, column, gone) for v, gone in zip(cell.values, cell.lost, strict=True))


def blocks(shown: Table | Sheet) -> list[Sheet]:
    """Each block of a table as a sheet; a sheet is its own."""
    if isinstance(shown, Sheet):
        return [shown]
    return [Sheet(
        key=shown.task, title=f"{shown.title}, profile {shown.profile}", intro=GROUPS[group], reduced=shown.reduced,
        header=("method", *(f"{c.title} [{c.unit}]" for c in columns), "n [runs]"),
        rows=tuple((style.label(r.method), *(cell_text(r.cells[c.key], c) for c in columns), r.n) for r in rows),
        marks=tuple(row.marks for row in rows), numbers=True) for group, columns, rows in shown.groups()]


def files(shown: Table | Sheet) -> dict[str, str]:
    """Name → text of the files that hold it."""
    key = shown.task if isinstance(shown, Table) else shown.key
    return {f"table_{key}.{suffix}": write(shown)
            for suffix, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex))}


def to_markdown(shown: Table | Sheet, heading: str = "##") -> str:
    """Heading, the words of a reduced protocol, each block with its sentence, and notes; every text is escaped."""
    whole = isinstance(shown, Table)
    lines = [f"{heading} {escape.markdown(shown.title)}", ""]
    lines += [f"**{_sentence(shown.reduced)}**", ""] if shown.reduced else []
    for sheet in blocks(shown):
        left = [i for i, wordy in enumerate(_wordy(sheet)) if wordy]
        rows = [[*map(escape.markdown, row)] for row in sheet.rows]
        for row, marks in zip(rows, sheet.marks, strict=False):
            row[0] += f"<sup>{','.join(marks)}</sup>" if marks else ""
        lines += [escape.markdown(sheet.intro) + (":" if whole else ""), "",
                  *grid([*map(escape.markdown, sheet.header)], rows, left), ""]
    lines += [("" if whole else "- ") + escape.markdown(note) for note in shown.notes]
    if isinstance(shown, Table) and shown.footnotes:
        lines += ["", *(f"- <sup>{mark}</sup> {escape.markdown(text)}" for mark, text in shown.footnotes.items())]
    return "\n".join(lines).rstrip("\n") + "\n"


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,)) -> list[str]:
    """Lines of a Markdown table of cells that are Markdown; the columns ``left`` are set left, the others right."""
    marks = [":---" if i in set(left) else "---:" for i in range(len(header))]
    return ["| " + " | ".join(header) + " |", f"|{'|'.join(marks)}|", *("| " + " | ".join(row) + " |" for row in rows)]


def to_latex(shown: Table | Sheet) -> str:
    """A ``table*`` with a booktabs tabular for each block, with a short caption and a label, ``tab:KEY`` or
    ``tab:TASK-BLOCK``; what else is to be said stands below it, with each footnote where its mark comes first.

    Needs ``\\usepackage{booktabs,graphicx}`` and utf8 input.
    """
    lines, told = [r"% needs \usepackage{booktabs,graphicx}"], set[str]()
    for number, sheet in enumerate(blocks(shown)):
        if isinstance(shown, Table):
            key, caption = f"{shown.task}-{shown.groups()[number][0]}", f"{sheet.title}: {sheet.intro}."
            marked = {mark for marks in sheet.marks for mark in marks} - told
            notes = [*map(escape.latex, () if number else shown.notes),
                     *(rf"\textsuperscript{{{mark}}} {escape.latex(text)}" for mark, text in shown.footnotes.items()
                       if mark in marked)]
            told |= marked
        else:
            key, caption, notes = sheet.key, f"{sheet.title}.", [*map(escape.latex, (sheet.intro, *sheet.notes))]
        caption += f" {_sentence(sheet.reduced)}" if sheet.reduced else ""
        columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.header)
        widths = [max(map(len, column), default=0) for column in columns]
        shape = "".join(("p{7cm}" if width > _LONG else "l") if wordy else "r"
                        for wordy, width in zip(_wordy(sheet), widths, strict=True))
        lines += [r"\begin{table*}", r"\centering", r"\footnotesize",
                  rf"\caption[{escape.latex(sheet.title)}]{{{escape.latex(caption)}}}",
                  rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', key)}}}",
                  _SHRINK, rf"\begin{{tabular}}{{{shape}}}", r"\toprule"]
        lines += [*_latex_head(sheet.header, widths), r"\midrule"]
        for row, marks in itertools.zip_longest(sheet.rows, sheet.marks, fillvalue=()):
            name, *cells = map(_latex_number, row)
            name += rf"\textsuperscript{{{','.join(marks)}}}" if marks else ""
            lines.append(" & ".join([name, *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}"]
        if notes:
            lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
                      *(rf"{note}\par" for note in notes), r"\end{minipage}"]
        lines.append(r"\end{table*}")
    return "\n".join(lines) + "\n"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _latex_head(header: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Lines of a header: titles broken to about the width of what stands below them, then units."""
    titles = [title.rpartition(" [")[0] if title.endswith("]") else title for title in header]
    units = [title.removeprefix(short).strip() for title, short in zip(header, titles, strict=True)]
    broken = [textwrap.wrap(title, max(14, min(width, _LONG)), break_long_words=False) or [""]
              for title, width in zip(titles, widths, strict=True)]
    depth = max(map(len, broken))
    above = zip(*([""] * (depth - len(each)) + each for each in broken), strict=True)
    return [" & ".join(map(escape.latex, line)) + r" \\" for line in (*above, units)]


def _latex_number(text: str) -> str:
    return escape.latex(re.sub(r"-(?=\d)", "−", text))  # a minus, but no hyphen of a name


def to_text(overall: Sheet, tables: Sequence[Table], results: Results) -> str:
    """The short tables for a terminal: all tasks first, then reward increase, judge, time, tokens and n of each."""
    kept = [i for i, title in enumerate(overall.header) if title.startswith(_OF_A_TERMINAL)]
    lines = [overall.title, *([f"  {overall.reduced}"] if overall.reduced else [])]
    lines += [*aligned([[line[i] for i in kept] for line in (overall.header, *overall.rows)]), ""]
    for table in tables:
        lines.append(f"{table.title} · profile {table.profile} · budget {results.budget(table.task)}")
        if table.reduced:
            lines.append(f"  {table.reduced}")
        keys = ["reward_increase", "gold_change", "win_rate_change", "kl", "seconds", "forward_tokens"]
        columns = [c for k in keys for c in table.columns if c.key == k]
        body = [["method", *[f"{c.title} [{c.unit}]" for c in columns], "n"]]
        for row in table.rows:
            body.append([style.label(row.method), *[cell_text(row.cells[c.key], c) for c in columns], row.n])
        lines += aligned(body)
        lines += [f"  {style.label(row.method)}: {w}" for row in table.rows for w in _without_name(row)]
        lines.append("")
    lines.append(results.counts() + ".")
    return "\n".join(lines) + "\n"


def _without_name(row: Row) -> list[str]:
    prefix = f"{style.label(row.method)}, "
    return [w.removeprefix(prefix) for w in row.warnings]


def _wordy(sheet: Sheet) -> list[bool]:
    """Whether each column holds words (set left) rather than numbers (set right); the first one names the rows."""
    columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.header)
    found = [not any(re.match(r"[+-]?\d", cell) for cell in column) or max(map(len, column)) > _LONG
             for column in columns]
    return [i == 0 or (wordy and not sheet.numbers) for i, wordy in enumerate(found)]
