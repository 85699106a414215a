"""All tasks on one page: curves of a few methods, ends of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFTBASE
from matplotlib.ticker import MaxNLocator

from benchmark.core import statistics
from benchmark.reporting.plots import curves, families, frame, style
from benchmark.reporting.plots.curves import BAND, BUDGETS, ENDS, INCREASE, draw_budget
from benchmark.reporting.plots.frame import DASHED, WIDE
from benchmark.reporting.plots.paths import PATH, draw_path
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

SEVERAL = "Large markers: mean over n seeds; bars: its 95 % bootstrap interval over seeds; small dots: each seed."
ROWS = {  # by what curves.words says of the same runs
    SEVERAL: SEVERAL,
    curves.SAMPLED: "Markers: one run each; bars: 95 % interval from prompts and completions (1.96 standard errors of "
                    "the increase), not from seeds.",
    curves.ALONE: "Markers: one run each; a single seed has no interval.",
}
SORTED = " Test split. Families are sorted by the mean reward increase over tasks."


def overview(results: Results) -> Figure:
    """One row a reading (time, compute, judge), one column a task; without the controls where there is more.

    A crowd has a row a method instead (:func:`ends`).
    """
    tasks, methods = results.tasks, style.groups(results.methods)[""]
    if len(methods) > families.CROWD:
        return ends(results)
    judges = [results.judge(task) for task in tasks]
    figure = frame.new(WIDE, 1.9 + 3.0 * (3 if any(judges) else 2))
    grid = figure.subplots(3 if any(judges) else 2, len(tasks), squeeze=False)
    outside = set()
    for j, (task, judge) in enumerate(zip(tasks, judges, strict=True)):
        own = [m for m in methods if m in results.methods_of(task)]
        for i, kind in enumerate(BUDGETS):
            if words := draw_budget(grid[i][j], results, task, own, kind):
                outside.add(f" {results.title(task)}:{words}")
        grid[0][j].set_title(results.title(task), fontsize=11.5, fontweight="bold", pad=8)
        if judge:
            draw_path(grid[2][j], results, task, own, "reward", judge)
            grid[2][j].yaxis.label.set_fontsize(9)
        elif any(judges):
            grid[2][j].set_axis_off()
    for row in grid[:2]:
        for axes in row:
            axes.set_ylabel(INCREASE if axes is row[0] else "", fontsize=9)
    handles, names = frame.legend(results, methods, tasks, "level of π₀")
    room = frame.top_legend(figure, handles, names, len(names) if len(names) <= 8 else 5)
    kinds = "; ".join(sorted({frame.seeds(results, t, methods) for t in tasks}))
    last = f" Last row: {PATH[0].lower()}{PATH[1:]}" if any(judges) else ""
    words = curves.words(results, tasks, methods, f"{BAND} {ENDS}{last}") + "".join(sorted(outside))
    frame.frame(figure, "Reward under one budget, every method from the same start", kinds, results.reduced(),
                      frame.caption(results, tasks, methods, words), room)
    return figure


def ends(results: Results) -> Figure:
    """Test increase of every method at the end of the budget, a row a method under its family's title.

    A column a task and reading: reward, then the judge.
    """
    readings = [(task, metric) for task in results.tasks for metric in ("reward", results.judge(task)) if metric]
    gains = {m: [v for run in results.runs if run.method == m for v in _values([run], "reward")]
             for m in results.headline}
    rows = families.ranked(results.headline, {m: float(np.mean(own)) for m, own in gains.items() if own})
    figure = frame.new(WIDE, 2.4 + 0.235 * len(rows))
    grid = figure.subplots(1, len(readings), squeeze=False, sharey=True)[0]
    outside: list[str] = []
    for axes, (task, metric) in zip(grid, readings, strict=True):
        axes.axvline(0, zorder=1, **DASHED)
        outside += _column(axes, results, task, metric, rows)
        frame.axis_format(axes, y=False)
        axes.margins(x=0.05)
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
        axes.set_title(results.title(task) if metric == "reward" else "", fontsize=11, fontweight="bold", pad=8)
        words, unit = style.JUDGES.get(metric, ("", ""))
        axes.set_xlabel(f"change in {words}\n[{unit}, test]" if words else "increase in reward\n[r₀ score, test]",
                        fontsize=9)
    frame.rows(grid[0], rows)
    tasks, methods = results.tasks, results.methods
    how = ROWS[curves.words(results, tasks, methods, SEVERAL)] + SORTED
    how += f" Outside the axes (arrows): {', '.join(outside)}." if outside else ""
    kinds = "; ".join(sorted({frame.seeds(results, t, results.methods_of(t)) for t in tasks}))
    frame.frame(figure, "Reward under one budget, every method from the same start", kinds, results.reduced(),
                frame.caption(results, tasks, methods, how))
    return figure


def _values(runs: Sequence[FinishedRun], metric: str) -> list[float]:
    found = [None if run.diverged else run.change(metric) for run in runs]
    return [value for value in found if value is not None]


def _column(axes: Axes, results: Results, task: str, metric: str, rows: Sequence[str | None]) -> list[str]:
    """The rows of ``rows`` that ``task`` has; returns what lies outside the axes."""
    looks, outside = style.looks(results.methods), []
    known = {m: np.array(found) for m in rows if m and (found := _values(results.of(task, m), metric))}
    lows = [float(own.min()) for own in known.values()]
    edge = frame.floor(lows, max(float(own.max()) for own in known.values())) if known else None
    edge = None if edge is not None and edge > 0 else edge  # π₀ stays in sight
    left = -np.inf if edge is None else edge
    for y, method in enumerate(rows):
        if method is None or not (runs := results.of(task, method)):
            continue
        look = looks[method]
        if lost := sum(run.diverged for run in runs):
            axes.text(0.02, y, f"diverged ({lost} of {len(runs)})", transform=axes.get_yaxis_transform(), va="center",
                      fontsize=8, color=style.MUTED)
            continue
        own = known.get(method, np.empty(0))
        inside = own[own >= left]
        spread = np.linspace(-0.25, 0.25, len(inside)) if len(inside) > 1 else np.zeros(len(inside))
        axes.plot(inside, y + spread, color=look.colour, marker="o", markersize=3, linestyle="none", alpha=0.6,
                  markeredgewidth=0, zorder=3)
        frame.beyond(axes, [(left, y)] * (len(inside) < len(own)), look.colour, CARETLEFTBASE)
        outside += [f"{style.label(method)}, {results.title(task)}, {frame.minus(v)}" for v in own[own < left]]
        error = runs[0].metric("final", f"{metric}_se")
        bounds = frame.interval(own)
        if len(own) == 1 and error is not None:
            bounds = own[0] - statistics.NORMAL * error, own[0] + statistics.NORMAL * error
        if bounds:
            axes.plot(bounds, [y, y], color=style.INK, linewidth=1.4, zorder=4)
        if len(own) and own.mean() >= left:
            axes.plot([own.mean()], [y], color=look.colour, marker=look.marker, markersize=6.5, zorder=5,
                      markeredgecolor=style.INK, markeredgewidth=0.7)
    if edge is not None:
        axes.set_xlim(left=edge)
    return outside
