"""Table and plot of direction quality (``diagnose``), from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmark.core import escape
from benchmark.core.files import write_text
from benchmark.reporting.plots import style
from benchmark.reporting.plots.write import DPI, save
from benchmark.reporting.tables.formats import grid

LOOKS = {
    "backpropagation": ("#0072B2", "s"),
    "Gaussian SPSA": ("#CC79A7", "P"),
    "ZOPrO": ("#D55E00", "o"),
    "ZOPrO, no projection": ("#009E73", "^"),
    "previous update alone": ("#000000", "D"),
}
HEADER = ("direction", "a", "cosine with −∇L", "± over draws", "cosine with −∇L of its own rollout",
          "right sign [share]", "variance [‖∇L‖²]",
          "decrease per forward pass [L]", "against backpropagation [×]", "n [points]")


def _beside_backpropagation(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with what backpropagation reached at the same point."""
    key = ["task", "method", "seed", "iteration"]
    first = rows[rows.estimator == "backpropagation"].set_index(key)[["decrease"]]
    return rows.join(first.add_suffix("_first"), on=key)


def looks_of(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Direction → colour and marker: those above, then further methods by their own looks."""
    further = [name for name in rows.estimator.unique() if name not in LOOKS]
    return LOOKS | {name: (look.colour, look.marker) for name, look in style.looks(further).items()}


def summarise(rows: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """One line a (task, estimator, weight), in the order of ``tasks``: means over points; ``relative`` compares with
    backpropagation there."""
    joined = _beside_backpropagation(rows)
    order = {name: i for i, name in enumerate(looks_of(rows))}
    grouped = joined.groupby(["task", "estimator", "weight"], dropna=False, sort=False)
    table = grouped.agg(
        cosine=("cosine", "mean"), cosine_sd=("cosine_sd", "mean"),
        own_cosine=("own_cosine", "mean"), right_sign=("right_sign", "mean"),
        variance=("variance", "median"), decrease=("decrease", "mean"), first=("decrease_first", "mean"),
        points=("cosine", "size"),
    ).reset_index()
    table["relative"] = table.decrease / table["first"]
    table["place"], table["task_place"] = table.estimator.map(order), table.task.map(list(tasks).index)
    return table.sort_values(["task_place", "place", "weight"], kind="stable").drop(columns=["place", "task_place"])


def to_markdown(table: pd.DataFrame, titles: Mapping[str, str], rows: pd.DataFrame) -> str:
    """A block a task, with what was measured under it."""
    lines = []
    for task, group in table.groupby("task", sort=False):
        cells = [[
            r["estimator"], "–" if pd.isna(r["weight"]) else f"{r['weight']:g}", f"{r['cosine']:+.4f}",
            f"{r['cosine_sd']:.4f}", f"{r['own_cosine']:+.4f}", f"{r['right_sign']:.2f}",
            "–" if pd.isna(variance := r["variance"]) else f"{variance:,.0f}" if variance > 10 else f"{variance:.2f}",
            f"{r['decrease']:+.1e}", f"{r['relative']:+.4f}", str(r["points"])] for r in group.to_dict("records")]
        lines += [f"## {escape.markdown(titles.get(str(task), str(task)))}", "", *grid(HEADER, cells), "",
                  _note(rows[rows.task == task]), ""]
    return "\n".join(lines)


def _note(rows: pd.DataFrame) -> str:
    d = int(rows.parameters.iloc[0])
    draws = int(rows[rows.estimator != "backpropagation"].draws.iloc[0])
    points = rows[["method", "seed", "iteration"]].drop_duplicates()
    return (
        f"Means over points (runs of {', '.join(style.label(m) for m in points.method.unique())}; seeds "
        f"{', '.join(map(str, sorted(points.seed.unique())))}; after iterations "
        f"{', '.join(map(str, sorted(points.iteration.unique())))}), the variance is the median; {draws} draws of z a "
        f"point. ∇L is back-propagated on many rollouts that no direction has seen. With d = {d:,} trained parameters "
        f"a Gaussian direction with the right sign has a cosine of √(2/πd) = {np.sqrt(2 / np.pi / d):.4f} with the "
        f"gradient of its own rollout. Right sign: the two losses told which way is down on it. Variance: of the "
        f"estimate scaled to be right along ∇L (– where it does not point along ∇L at all). Decrease: first order, for "
        f"a step as long as the mean update of the run's first iteration, per forward pass, rollouts not counted."
    )


def write(rows: pd.DataFrame, folder: Path, titles: Mapping[str, str]) -> list[Path]:
    """Write ``directions.csv``, ``.md``, ``.png`` and ``.svg`` into ``folder``; return their paths."""
    table = summarise(rows, list(titles))
    csv, markdown = folder / "directions.csv", folder / "directions.md"
    write_text(csv, rows.to_csv(index=False, float_format="%.8g", lineterminator="\n"))
    write_text(markdown, to_markdown(table, titles, rows))
    with matplotlib.style.context(["default", style.RC]):
        return [csv, markdown, *save(_figure(table, rows, titles), folder / "directions")]


def _figure(table: pd.DataFrame, rows: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Cosine on the own rollout and relative decrease over a; one column a task. Small marks are single points."""
    tasks = list(dict.fromkeys(table.task))
    figure = Figure(figsize=(4.3 * len(tasks) + 0.6, 7.6), dpi=DPI, layout="constrained")
    grid = figure.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
    rows = _beside_backpropagation(rows).assign(relative=lambda r: r.decrease / r.decrease_first)
    for column, task in enumerate(tasks):
        for row, (value, words, threshold) in enumerate((
            ("own_cosine", "cosine with −∇L of its own rollout", 1e-3),
            ("relative", "decrease of L per forward pass\n[× backpropagation]", 1e-2),
        )):
            axes = grid[row][column]
            for name, (colour, marker) in looks_of(rows).items():
                mean, dots = (f[(f.task == task) & (f.estimator == name)] for f in (table, rows))
                if not len(mean):
                    continue
                if mean.weight.isna().all():
                    axes.axhline(mean[value].iloc[0], color=colour, linewidth=1.8, label=name,
                                 linestyle="-" if row == 0 or name != "backpropagation" else (0, (2, 2)))
                    continue
                axes.plot(dots.weight, dots[value], linestyle="", marker=marker, markersize=3.5, color=colour,
                          alpha=0.4, markeredgewidth=0)
                axes.plot(mean.weight, mean[value], color=colour, marker=marker, markersize=7, linewidth=1.8,
                          markeredgecolor="white", label=name)
            if row == 0:
                d = rows[rows.task == task].parameters.iloc[0]
                axes.axhline(np.sqrt(2 / np.pi / d), color="#999999", linewidth=1.2, linestyle=(0, (2, 2)),
                             label="Gaussian, theory √(2/πd)", zorder=3)
            else:
                axes.axhline(0, color="#999999", linewidth=0.8)
            axes.set_yscale("symlog", linthresh=threshold)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
            if row == 0:
                axes.set_title(titles.get(task, task), fontweight="bold", fontsize=11.5)
            else:
                axes.set_xlabel("a, weight of the previous update")
            if column == 0:
                axes.set_ylabel(words)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=9.5)
    return figure
