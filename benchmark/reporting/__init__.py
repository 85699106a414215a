"""Tables, plots and a page from run directories: a pure function from files to files.

The same run directories give the same bytes: no clock, no absolute path and no machine name enters an output.
Nothing heavy is imported until ``report`` is called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.files import write_text, writing
from benchmark.core.locks import locked
from benchmark.core.paths import own_folder

if TYPE_CHECKING:
    from benchmark.reporting.read.reader import Results
    from benchmark.reporting.tables.per_task import Table
    from benchmark.reporting.tables.sheets import Sheet

# What a report may have written: an earlier task, sheet or plot must not stand beside new ones as if it were current.
OUTPUTS = ("table_*.*", "reward_vs_*.*", "gold_vs_*.*", "overview.*", "frontier.*", "scores.*", "profile.*",
           "report.md", "index.html")


@dataclass(frozen=True)
class ReportResult:
    """What ``report`` did.

    Attributes:
        folder: ``<out>/report``.
        written: every file written, in the order of writing.
        used: number of finished runs in the tables (diverged ones included).
        ignored: number of run directories left out (unfinished or failed; damaged or of other settings).
        failed: ``"directory: message"`` of each failed run.
        cautions: what a reader must know before comparing (reduced protocol, starts that differ, …).
        summary: plain-text table for a terminal, one block a task.
    """

    folder: Path
    written: tuple[Path, ...]
    used: int
    ignored: int
    failed: tuple[str, ...]
    cautions: tuple[str, ...]
    summary: str


def build_sheets(results: Results, tables: Sequence[Table]) -> list[Sheet]:
    """The tables over all tasks, "overall" first; without those that the runs cannot fill."""
    from benchmark.reporting.read import aggregate
    from benchmark.reporting.tables import budgets, costs, headline, labels, overall, paired, published, verdict

    found = [
        overall.overall(results, tables, aggregate.improvements(results)),
        *(headline.headline(results, table) for table in tables),
        *paired.sheets(results, tables),
        *verdict.sheets(results),
        *budgets.equal(results, tables),
        budgets.target(results),
        costs.cost(results, tables),
        labels.labels(results, tables),
        published.published(results, tables),
    ]
    return [sheet for sheet in found if sheet is not None]


def report(
    out: Path,
    *,
    method_order: Sequence[str] = (),
    task_titles: Mapping[str, str] | None = None,
    around: Collection[str] | None = None,
) -> ReportResult:
    """Write ``<out>/report/`` from the run directories in ``out``: tables, plots, ``report.md`` and ``index.html``.

    Args:
        out: folder of run directories.
        method_order: registry names in the order of the table rows; others follow alphabetically.
        task_titles: task name → title for headings, in the order of the tasks; without it the known titles (else
            the names), alphabetically.
        around: names of finished run directories that must be in it. Others that are damaged, or must not share a
            table with these, are left out and named, so that results of several settings can lie in one folder.

    Raises:
        BenchmarkError: no finished run, a file that cannot be read, or runs that must not share a table (another
            protocol version, budget, data, profile or settings; the same hyperparameters and seed twice). Nothing is
            written then.
        StorageError: a file cannot be written.
    """
    from benchmark.reporting.read import reader
    from benchmark.reporting.tables import formats, per_task

    results = reader.read(Path(out), method_order=method_order, task_titles=task_titles, around=around)
    built = [per_task.build(results, task) for task in results.tasks]
    over_all = build_sheets(results, built)
    folder = own_folder(Path(out), "report")
    with locked(folder):  # of two commands that end together one writes after the other
        written = _write(results, built, over_all, folder)
    return ReportResult(
        folder=folder,
        written=tuple(written),
        used=len(results.runs),
        ignored=len(results.ignored),
        failed=tuple(f"{i.name}: {i.message}" for i in results.ignored if i.reason == "failed"),
        cautions=tuple(results.cautions()),
        summary=formats.to_text(over_all[0], built, results),
    )


def _write(results: Results, built: Sequence[Table], over_all: Sequence[Sheet], folder: Path) -> list[Path]:
    """Write every file, each of them old or new and always whole; then remove what an earlier report had more."""
    from benchmark.reporting import webpage
    from benchmark.reporting.pages import markdown
    from benchmark.reporting.plots.write import write_all
    from benchmark.reporting.tables import formats

    written: list[Path] = []
    with writing(folder):
        folder.mkdir(exist_ok=True)

    def write(texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            write_text(folder / name, text)
            written.append(folder / name)

    for table in built:
        write(formats.files(table))
    for sheet in over_all:
        write(formats.files(sheet))
    figures = write_all(results, folder)
    written += figures
    write({"report.md": markdown.render(results, built, over_all, [path.name for path in figures]),
           "index.html": webpage.render(results, built, over_all)})
    for pattern in (*OUTPUTS, "*.part"):
        for stale in sorted(set(folder.glob(pattern)) - set(written)):
            stale.unlink()
    return written
