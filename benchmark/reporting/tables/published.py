"""The sheet of published ZOPrO figures beside ours, with what makes each comparable or not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files

from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.overall import mean_text
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet

METHOD = "zopro"


def figures() -> list[dict[str, str]]:
    """Rows of ``published.csv``: task, dataset, metric, value and rank as listed, note, our task, comparability."""
    text = files("benchmark.reporting.tables").joinpath("published.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def published(results: Results, tables: Sequence[Table]) -> Sheet | None:
    """Published figures × our reward increase on the same task; ``None`` when no run is of ZOPrO."""
    if METHOD not in results.methods:
        return None
    ours = {table.task: row.cells["reward_increase"] for table in tables for row in table.rows if row.method == METHOD}
    rows = []
    for figure in figures():
        beside = mean_text(ours.get(figure["our_task"])) if figure["metric"] == "reward" else "–"
        rows.append((f"{figure['task']}: {figure['dataset']}", figure["metric"], figure["value"],
                     figure["rank_listed"], beside, figure["comparable"]))
    return Sheet(
        key="published",
        title="Published figures beside ours",
        intro=f"Figures listed elsewhere for {style.label(METHOD)}, as they stand there, beside our reward increase on "
              "the task of that data set.",
        header=("published as", "metric", "published value [as listed]", "rank [as listed]",
                f"{style.label(METHOD)} here: reward increase (95 % interval) [r₀ score]", "comparable"),
        rows=tuple(rows),
        notes=(
            "Ours: reward of the frozen r₀ at the end of the budget minus that of π₀, test split, mean over seeds with "
            f"a 95 % bootstrap interval; profile {', '.join(sorted({table.profile for table in tables}))}.",
            "Rows of ours: " + "; ".join(f"{table.title} {results.data(table.task)}" for table in tables)
            + ". Bundled rows are not the published data sets.",
            "None of the published figures can confirm or contradict ours.",
        ),
        reduced=results.reduced(),
    )
