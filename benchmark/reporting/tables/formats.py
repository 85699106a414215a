"""A table of ``tables`` or a ``Sheet`` written down: CSV, Markdown, LaTeX (booktabs), plain text for a terminal."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence

from benchmark.core import escape
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.per_task import GROUPS, Cell, Column, Row, Table
from benchmark.reporting.tables.sheets import Sheet, decimal

# Shrinks what is wider than the line and leaves the rest at its size.
_SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"

_NUMBER = re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d+)?")
_LONG = 40  # characters from which a column of words is set in lines
_OF_A_TERMINAL = ("method", "normalised score", "better than", "n [")  # columns of the overall sheet that fit there


def figure(value: float | None, column: Column, lost: bool = False) -> str:
    """One number as a table shows it, or the word that stands for it."""
    if value is None:
        return "diverged" if lost else "n/a"
    if column.scientific:
        return f"{value:.1e}"
    return decimal(value, column.digits, column.signed)


def cell_text(cell: Cell, column: Column) -> str:
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


def _seed_list(cell: Cell, column: Column) -> str:
    return " ".join(figure(v, column, gone) for v, gone in zip(cell.values, cell.lost, strict=True))


def _exact(value: float | None) -> str:
    # Rounded first: the last bits of a mean depend on the machine, and would be all there is of a zero.
    return "" if value is None else f"{round(value, 10) + 0.0:.10g}"


def to_csv(table: Table) -> str:
    """One row a method, plain numbers to 10 digits; a reading that has no number holds its word."""
    header = ["task", "method", "n [runs]", "diverged [runs]", "seeds"]
    for c in table.columns:
        unit = f" [{c.unit}]"
        header += [f"{c.key}_pi0{unit}"] if c.start else []
        header += [f"{c.key}_at [{c.at_unit}]"] if c.at is not None else []
        header += [f"{c.key}{unit}", f"{c.key}_sd{unit}", f"{c.key}_seeds{unit}"]
    header += ["profile", "protocol note", "warnings"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        line = [table.task, row.method, len(row.seeds), row.diverged, " ".join(map(str, row.seeds))]
        for c in table.columns:
            cell = row.cells[c.key]
            line += [_exact(cell.start)] if c.start else []
            line += [_exact(c.at)] if c.at is not None else []
            each = " ".join(
                _exact(v) or ("diverged" if gone else "n/a") for v, gone in zip(cell.values, cell.lost, strict=True)
            )
            line += [cell.word or _exact(cell.mean), "" if cell.word else _exact(cell.sd), each]
        line += [table.profile, table.reduced, "; ".join(row.warnings)]
        writer.writerow(map(escape.csv_cell, line))
    return out.getvalue()


def to_markdown(table: Table, heading: str = "##") -> str:
    """Three blocks under a heading; every text is escaped."""
    lines = [f"{heading} {escape.markdown(table.title)}", ""]
    if table.reduced:
        lines += [f"**{table.reduced[0].upper()}{table.reduced[1:]}.**", ""]
    for group, columns, rows in table.groups():
        lines += [f"{GROUPS[group]}:", ""]
        header = ["method", *[f"{c.title} [{c.unit}]" for c in columns], "n [runs]"]
        lines.append("| " + " | ".join(escape.markdown(h) for h in header) + " |")
        lines.append("|" + "|".join([":---", *["---:"] * (len(columns) + 1)]) + "|")
        for row in rows:
            name = escape.markdown(style.label(row.method))
            name += f"<sup>{','.join(row.marks)}</sup>" if row.marks else ""
            cells = [escape.markdown(cell_text(row.cells[c.key], c)) for c in columns]
            lines.append("| " + " | ".join([name, *cells, row.n]) + " |")
        lines.append("")
    lines += [escape.markdown(note) for note in table.notes]
    if table.footnotes:
        lines.append("")
        lines += [f"- <sup>{mark}</sup> {escape.markdown(text)}" for mark, text in table.footnotes.items()]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A ``table*`` of booktabs tabulars; needs ``\\usepackage{booktabs,graphicx}`` and utf8 input."""
    reduced = f" {table.reduced[0].upper()}{table.reduced[1:]}." if table.reduced else ""
    lines = [r"% needs \usepackage{booktabs,graphicx}"]
    for group, columns, rows in table.groups():
        caption = f"{table.title}, profile {table.profile}.{reduced} {GROUPS[group]}."
        lines += [r"\begin{table*}", r"\centering", r"\footnotesize", rf"\caption{{{escape.latex(caption)}}}", _SHRINK]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}", r"\toprule"]
        texts = [[cell_text(row.cells[c.key], c) for row in rows] for c in columns]
        titles, units = zip(("method", ""), *((c.title, f"[{c.unit}]") for c in columns), ("n", "[runs]"), strict=True)
        lines += _latex_head(titles, units, [0, *[max(map(len, each), default=0) for each in texts], 0])
        lines.append(r"\midrule")
        for row in rows:
            name = escape.latex(style.label(row.method))
            name += rf"\textsuperscript{{{','.join(row.marks)}}}" if row.marks else ""
            cells = [_latex_number(cell_text(row.cells[c.key], c)) for c in columns]
            lines.append(" & ".join([name, *cells, escape.latex(row.n)]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table*}"]
    lines += [rf"\noindent{{\footnotesize {escape.latex(note)}\par}}" for note in table.notes]
    lines += [rf"\noindent{{\footnotesize\textsuperscript{{{mark}}} {escape.latex(text)}\par}}"
              for mark, text in table.footnotes.items()]
    return "\n".join(lines) + "\n"


def _latex_head(titles: Sequence[str], units: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Lines of a header: titles broken to about the width of what stands below them, then units."""
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
    lines += [*_aligned([[line[i] for i in kept] for line in (overall.header, *overall.rows)]), ""]
    for table in tables:
        lines.append(f"{table.title} · profile {table.profile} · budget {results.budget(table.task)}")
        if table.reduced:
            lines.append(f"  {table.reduced}")
        keys = ["reward_increase", "gold_change", "win_rate_change", "kl", "seconds", "forward_tokens"]
        columns = [c for k in keys for c in table.columns if c.key == k]
        body = [["method", *[f"{c.title} [{c.unit}]" for c in columns], "n"]]
        for row in table.rows:
            body.append([style.label(row.method), *[cell_text(row.cells[c.key], c) for c in columns], row.n])
        lines += _aligned(body)
        lines += [f"  {style.label(row.method)}: {w}" for row in table.rows for w in _without_name(row)]
        lines.append("")
    lines.append(results.counts() + ".")
    return "\n".join(lines) + "\n"


def _aligned(body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal-width columns, the first one set left."""
    widths = [max(len(line[i]) for line in body) for i in range(len(body[0]))]
    return ["  " + line[0].ljust(widths[0]) + "".join(f"  {t:>{w}}" for t, w in zip(line[1:], widths[1:], strict=True))
            for line in body]


def _without_name(row: Row) -> list[str]:
    prefix = f"{style.label(row.method)}, "
    return [w.removeprefix(prefix) for w in row.warnings]


def sheet_csv(sheet: Sheet) -> str:
    """Header and rows as they stand; a cell that is a number loses its thousands separators."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(escape.csv_cell, [*sheet.header, "protocol note"]))
    for row in sheet.rows:
        cells = [cell.replace(",", "") if _NUMBER.fullmatch(cell) else cell for cell in row]
        writer.writerow(map(escape.csv_cell, [*cells, sheet.reduced]))
    return out.getvalue()


def sheet_markdown(sheet: Sheet, heading: str = "##") -> str:
    """Heading, sentence, table and notes; every text is escaped."""
    lines = [f"{heading} {escape.markdown(sheet.title)}", ""]
    if sheet.reduced:
        lines += [f"**{sheet.reduced[0].upper()}{sheet.reduced[1:]}.**", ""]
    lines += [escape.markdown(sheet.intro), ""]
    lines.append("| " + " | ".join(escape.markdown(title) for title in sheet.header) + " |")
    lines.append("|" + "|".join(":---" if wordy else "---:" for wordy in _wordy(sheet)) + "|")
    lines += ["| " + " | ".join(escape.markdown(cell) for cell in row) + " |" for row in sheet.rows]
    if sheet.notes:
        lines += ["", *[f"- {escape.markdown(note)}" for note in sheet.notes]]
    return "\n".join(lines) + "\n"


def sheet_latex(sheet: Sheet) -> str:
    """A ``table*`` with one booktabs tabular; needs ``\\usepackage{booktabs,graphicx}`` and utf8 input."""
    caption = [f"{sheet.title}.", sheet.intro, *sheet.notes]
    if sheet.reduced:
        caption.insert(1, f"{sheet.reduced[0].upper()}{sheet.reduced[1:]}.")
    columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.header)
    widths = [max(map(len, column), default=0) for column in columns]
    shape = "".join(("p{7cm}" if width > _LONG else "l") if wordy else "r"
                    for wordy, width in zip(_wordy(sheet), widths, strict=True))
    heads = [re.fullmatch(r"(.*?)(?: (\[.*\]))?", title).groups("") for title in sheet.header]
    titles, units = zip(*heads, strict=True)
    lines = [r"% needs \usepackage{booktabs,graphicx}", r"\begin{table*}", r"\centering", r"\footnotesize"]
    lines += [rf"\caption{{{escape.latex(' '.join(caption))}}}", _SHRINK, rf"\begin{{tabular}}{{{shape}}}", r"\toprule"]
    lines += _latex_head(titles, units, widths)
    lines.append(r"\midrule")
    lines += [" & ".join(map(_latex_number, row)) + r" \\" for row in sheet.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}"]) + "\n"


def _wordy(sheet: Sheet) -> list[bool]:
    """Whether each column holds words (set left) rather than numbers (set right); the first one names the rows."""
    columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.header)
    return [i == 0 or not any(re.match(r"[+-]?\d", cell) for cell in column) or max(map(len, column)) > _LONG
            for i, column in enumerate(columns)]
