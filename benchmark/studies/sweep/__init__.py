"""A sweep over budgets and what is trained: its points, and the report over all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from benchmark.core import escape
from benchmark.core.files import write_text
from benchmark.core.locks import locked
from benchmark.core.paths import own_folder
from benchmark.reporting.tables import formats
from benchmark.studies.sweep import analysis, figures, points, tables

OUTPUTS = ("table_*.*", "sweep*.*", "half.*", "report.md", "*.part")


def write_report(out: Path, method_order: Sequence[str], task_titles: Mapping[str, str],
                 around: Mapping[str, Collection[str]] | None = None) -> list[Path]:
    """Write ``<out>/report/`` over all points of the sweep in ``out`` and return the files; same runs, same bytes.

    Args:
        method_order, task_titles: as for ``benchmark.reporting.report``.
        around: as for ``analysis.read``, as are errors.
    """
    found, empty = analysis.read(out, points.read(out), around, method_order=method_order, task_titles=task_titles)
    every = analysis.cells(found)
    halves = analysis.halves(every)
    missing = [f"{point.folder}: {line}." for point, results in found for line in results.gaps()]
    missing += [f"{folder}: no finished run." for folder in empty]
    sheets = [sheet for sheet in (tables.points(every, missing), tables.half(halves)) if sheet is not None]
    folder = own_folder(out, "report")
    with locked(folder):
        drawn = figures.write(every, halves, folder)
        pages = {"report.md": _page(sheets, [path.name for path in drawn], [point.folder for point, _ in found])}
        for sheet in sheets:
            pages |= formats.files(sheet)
        for name, text in pages.items():
            write_text(folder / name, text)
        written = [*drawn, *(folder / name for name in pages)]
        for pattern in OUTPUTS:
            for stale in sorted(set(folder.glob(pattern)) - set(written)):
                stale.unlink()
    return written


def _page(sheets: Sequence[tables.Sheet], drawn: Sequence[str], folders: Sequence[str]) -> str:
    lines = ["# Sweep over budgets and trained parameters", "",
             "Every point is a result folder with a report of its own: "
             + ", ".join(f"[{escape.markdown(name)}](../{name}/report/report.md)" for name in folders) + ".", ""]
    for sheet in sheets:
        lines += [formats.to_markdown(sheet), f"The same table: [CSV](table_{sheet.key}.csv), "
                  f"[LaTeX](table_{sheet.key}.tex).", ""]
        lines += [text for name in drawn if name.endswith(".png") and name.startswith(sheet.key)
                  for text in (f"![{escape.markdown(sheet.title)}]({name})", "")]
    return "\n".join(lines).rstrip("\n") + "\n"
