"""Figures of a sweep: reward and gold against the budget, and forward tokens for half of RLOO's gain against d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmark.reporting.plots import frame, style
from benchmark.reporting.plots.frame import DASHED, MARKS, WIDE
from benchmark.studies.sweep.analysis import Half, SweepCell, grouped
from benchmark.studies.sweep.points import amount
from benchmark.studies.sweep.tables import METRICS, reduced, trained

POINTS = (
    "Markers: mean over n seeds of the change from π₀ at the end of a run with that budget; bars: its 95 % bootstrap "
    "interval over seeds; small dots: each seed. A budget at which a seed diverged has no marker."
)
NEEDS = (
    "Markers: forward tokens at which a method's mean validation curve first reaches half of RLOO's gain on the same "
    "trained parameters. Open triangles: not reached, drawn at what the largest budget spent. What is not powered, or "
    "diverged, is not drawn; the table names it."
)


def write(every: Sequence[SweepCell], halves: Sequence[Half], folder: Path) -> list[Path]:
    """Write ``sweep[_DIMENSION]`` and, with two settings of what is trained, ``half``; return the paths."""
    written = []
    with matplotlib.style.context(["default", style.RC]):
        for (dimension,), group in grouped(every, "dimension").items():
            name = f"sweep_{dimension}" if dimension else "sweep"
            written += frame.save(_against_budget(group), folder / name)
        if len({half.cell.dimension for half in halves}) > 1:
            written += frame.save(_against_size(halves), folder / "half")
    return written


def _against_budget(group: Sequence[SweepCell]) -> Figure:
    by_task = grouped(group, "task")
    shown = [name for name in METRICS if any(cell.changes(name) for cell in group)]
    figure = frame.new(WIDE, 2.0 + 3.2 * len(shown))
    grid = figure.subplots(len(shown), len(by_task), squeeze=False, sharex="col")
    looks = style.looks(list(dict.fromkeys(cell.method for cell in group)))
    for column, cells in enumerate(by_task.values()):
        for row, metric in enumerate(shown):
            axes = grid[row][column]
            axes.axhline(0, zorder=1, **DASHED)
            for (method,), own in grouped(cells, "method").items():
                _line(axes, own, metric, looks[method])
            words, unit, _ = METRICS[metric]
            if not column:
                axes.set_ylabel(f"{words} [{unit}, test]")
            frame.axis_format(axes)
        _log_axis(grid[-1][column].xaxis, sorted({cell.budget.limit for cell in cells}), amount)
        grid[0][column].set_title(cells[0].results.title(cells[0].task), fontsize=11.5, fontweight="bold", pad=8)
        grid[-1][column].set_xlabel(f"budget of a run [{style.BUDGETS[cells[0].budget.kind]}]")
    _frame(figure, group, looks, f"Reward against the budget: {trained(group[0])} trained", POINTS, "level of π₀")
    return figure


def _line(axes: Axes, own: Sequence[SweepCell], metric: str, look: style.Look) -> None:
    points = [(cell.budget.limit, values) for cell in own if not cell.lost and (values := cell.changes(metric))]
    if not points:
        return
    axes.plot([x for x, _ in points], [sum(values) / len(values) for _, values in points], color=look.colour,
              linestyle=look.line, linewidth=look.width, marker=look.marker, markersize=7, zorder=3, **MARKS)
    for x, values in points:
        axes.plot([x] * len(values), values, color=look.colour, marker="o", markersize=2.6, alpha=0.6,
                  linestyle="none", markeredgewidth=0, zorder=2)
        if interval := frame.interval(values):
            axes.plot([x, x], interval, color=look.colour, linewidth=1.4, zorder=2)


def _against_size(halves: Sequence[Half]) -> Figure:
    cells = [half.cell for half in halves]
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    figure = frame.new(WIDE, 5.2)
    grid = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    looks = style.looks(list(dict.fromkeys(cell.method for cell in cells)))
    for axes, task in zip(grid, tasks, strict=True):
        own = [half for half in halves if half.cell.task == task and half.cell.trained]
        for method, look in looks.items():
            mine = sorted((half for half in own if half.cell.method == method), key=lambda half: half.cell.trained or 0)
            drawn = [(half.cell.trained, half.tokens) for half in mine if half.tokens is not None]
            axes.plot([x for x, _ in drawn], [y for _, y in drawn], color=look.colour, linestyle=look.line,
                      linewidth=look.width, marker=look.marker, markersize=7, zorder=3, **MARKS)
            missed = [(half.cell.trained, half.largest) for half in mine if half.word == "not reached"]
            axes.plot([x for x, _ in missed], [y for _, y in missed], color=look.colour, linestyle="none", marker="^",
                      markersize=8, markerfacecolor="white", markeredgewidth=1.4, zorder=3)
        _log_axis(axes.xaxis, sorted({half.cell.trained for half in own if half.cell.trained}), "{:,}".format)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
        axes.set_title(halves[0].cell.results.title(task), fontsize=11.5, fontweight="bold", pad=8)
        axes.set_xlabel("trained parameters d")
    grid[0].set_ylabel("forward tokens for half of RLOO's gain")
    _frame(figure, cells, looks, "What half of RLOO's gain takes", NEEDS)
    return figure


def _log_axis(axis: XAxis, ticks: Sequence[float], text: Callable[[float], str]) -> None:
    """What was measured, and nothing else, has a tick."""
    axis.axes.set_xscale("log")
    axis.set_ticks(list(ticks), [text(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())
    axis.axes.set_xlim(ticks[0] / 1.2, ticks[-1] * 1.2)


def _frame(figure: Figure, cells: Sequence[SweepCell], looks: dict[str, style.Look], title: str, words: str,
           start: str = "") -> None:
    handles = [Line2D([], [], color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
                      markersize=7, **MARKS) for look in looks.values()]
    names = [style.label(method) for method in looks]
    if start:
        handles, names = [*handles, Line2D([], [], **DASHED)], [*names, start]
    room = frame.top_legend(figure, handles, names, min(len(names), 8))
    counts = sorted({len(cell.runs) for cell in cells})
    n = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    found = list({id(cell.results): cell.results for cell in cells}.values())
    commits = sorted({commit for results in found for commit in results.commits()})
    profiles = sorted({results.profile(task) for results in found for task in results.tasks})
    frame.frame(figure, title, f"profile {', '.join(profiles)}, n = {n} seeds per method and point", reduced(cells),
                f"{words} Commit: {', '.join(commits)}.", room)
