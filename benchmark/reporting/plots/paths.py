"""Paths of runs through two metrics: reward and judge against KL (the price paid), and the judge against the reward.

The axis of KL is that of its root: an update's KL grows with the square of its length, and the bound on the increase,
sd(r₀) · √(2 KL), is a straight line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from benchmark.core import statistics
from benchmark.reporting.plots import curves, families, frame, style
from benchmark.reporting.plots.frame import BEHIND, DASHED, PAGE, WIDE
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

KL = "KL to π₀ on validation prompts [nats per completion]"
BOUND: dict[str, Any] = {"color": style.INK, "linewidth": 0.8, "linestyle": (0, (5, 3))}
FAR = 1e4  # nats, beyond every axis
BOUNDED = " Thin dashed line: sd(r₀) · √(2 KL), which to leading order no increase exceeds (mean over seeds)."
PATH = (
    "Lines: mean over n seeds at equal shares of the budget, from π₀ at the origin, a point an evaluation; large "
    "markers: end of the budget, with the 95 % bootstrap interval of the mean over seeds along each axis. Small dots: "
    "where each seed ended."
)
THIN = " Thin lines: one seed each."


def mean_curve(runs: Sequence[FinishedRun], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean path of ``runs`` through two metrics, as two (points,) arrays: both averaged at equal shares of the budget.

    Neither metric grows steadily, so that no run has one ``y`` for an ``x``. Ends where the first run ends; empty if
    any run has no point.
    """
    pairs = [(run.series("fraction", x), run.series("fraction", y)) for run in runs]
    if not pairs or any(c[0].size == 0 for pair in pairs for c in pair):
        return np.empty(0), np.empty(0)
    grid = np.unique(np.concatenate([c[0] for pair in pairs for c in pair]))
    grid = grid[grid <= min(c[0][-1] for pair in pairs for c in pair)]
    along = [np.mean([np.interp(grid, *pair[i]) for pair in pairs], axis=0) for i in (0, 1)]
    return along[0], along[1]


def draw_path(axes: Axes, results: Results, task: str, methods: Sequence[str], x: str, y: str,
              behind: Sequence[str] = (), *, thin: bool = False) -> str:
    """Mean paths from π₀ through two metrics, the end marked with intervals along both axes.

    Args:
        behind: methods drawn in grey, their means alone.
        thin: whether every seed has a thin line too.

    Returns:
        What lies outside the axes.
    """
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    if x == "reward":
        axes.axvline(0, zorder=1, **DASHED)
    for method in behind:
        axes.plot(*_mean_change(results.of(task, method), x, y), **BEHIND)
    for depth, method in curves.depths(methods):
        look, runs = looks[method], results.of(task, method)
        for run in runs if thin else ():
            axes.plot(*curves.changes(run, x, y), color=look.colour, linewidth=0.6, alpha=0.3, zorder=depth - 8)
        axes.plot(*_mean_change(runs, x, y), color=look.colour, linestyle=look.line, linewidth=look.width,
                  marker=".", markersize=4, zorder=depth)
        curves.lost(axes, runs, x, y, 1.0, look, depth + 4)
        ends = curves.ends(runs, x, y)
        axes.plot(*ends.T, color=look.colour, marker="o", markersize=3.6, linestyle="none", alpha=0.8,
                  markeredgewidth=0, zorder=depth + 1)
        if any(run.diverged for run in runs) or len(ends) < len(runs):
            continue
        centre = ends.mean(axis=0)
        for i, (metric, along) in enumerate(zip((x, y), ends.T, strict=True)):
            if bounds := frame.interval(along) or curves.sampled(runs, along, metric):
                across = [centre[1 - i]] * 2
                axes.plot(*((across, bounds) if i else (bounds, across)), color=look.colour, linewidth=1.1,
                          zorder=depth + 2)
        axes.plot(*centre, color=look.colour, marker=look.marker, markersize=9.5, zorder=depth + 3,
                  markeredgecolor=style.INK, markeredgewidth=0.9, linestyle="none")
    frame.axis_format(axes)
    words, unit = style.JUDGES.get(y, ("", ""))
    axes.set_xlabel(KL if x == "kl" else curves.INCREASE.replace("\n", " "))
    axes.set_ylabel(f"change in {words}\n[{unit}, validation]" if words else curves.INCREASE)
    if x == "kl":
        axes.set_xscale("function", functions=(lambda kl: np.sign(kl) * np.abs(kl) ** 0.5, lambda r: r * np.abs(r)))
        frame.axis_format(axes, y=False)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(axes.get_xlim()[1])))
        if y == "reward" and (slope := bound(results, task)):
            axes.add_artist(Line2D([0, FAR], [0, slope * FAR**0.5], **BOUND))  # does not widen the axes
        elif y != "reward":
            return ""
    return curves.floor(axes, results, task, [*methods, *behind], y if x == "reward" else "")


def _ticks(high: float) -> list[float]:
    """Round numbers up to ``high`` that are apart on the axis of roots."""
    found = [0.0]
    for value in (factor * 10.0**power for power in range(-5, 5) for factor in (1, 2, 5)):
        if value <= high and value**0.5 - found[-1] ** 0.5 > 0.13 * high**0.5:
            found.append(value)
    return found


def bound(results: Results, task: str) -> float | None:
    """sd(r₀) · √2, mean over seeds: no increase exceeds it times √KL; ``None`` where the starts do not tell sd(r₀)."""
    known = [start.reward_sd for start in results.starts(task) if start.reward_sd is not None]
    return 2**0.5 * statistics.mean(known) if known else None


def _mean_change(runs: Sequence[FinishedRun], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = mean_curve(runs, x, y)
    return xs if x == "kl" else xs - xs[:1], ys - ys[:1]


def words(results: Results, tasks: Sequence[str], methods: Sequence[str], x: str) -> str:
    """How paths are to be read."""
    bounded = x == "kl" and any(bound(results, task) for task in tasks)
    return curves.words(results, tasks, methods, PATH) + BOUNDED * bounded


def _legend(results: Results, methods: Sequence[str], tasks: Sequence[str], x: str) -> tuple[list[Line2D], list[str]]:
    handles, names = frame.legend(results, methods, tasks, "level of π₀")
    if x == "kl" and any(bound(results, task) for task in tasks):
        return [*handles, Line2D([], [], **BOUND)], [*names, "sd(r₀) · √(2 KL)"]
    return handles, names


def path(results: Results, task: str, methods: Sequence[str], x: str, y: str, title: str) -> Figure:
    """Paths through two metrics as one figure."""
    figure = frame.new(PAGE, 5.6)
    axes = figure.add_subplot()
    outside = draw_path(axes, results, task, methods, x, y, thin=True)
    handles, names = _legend(results, methods, [task], x)
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=3.4,
                labelspacing=0.75, fontsize=9.5)
    how = words(results, [task], methods, x) + THIN * (not frame.alone(results, [task], methods))
    frame.frame(figure, f"{results.title(task)}: {title}", frame.seeds(results, task, methods), results.reduced(task),
                frame.caption(results, [task], methods, how + outside))
    return figure


def undominated(results: Results, task: str, y: str) -> list[str]:
    """Methods that raise ``y`` and whose mean end no other exceeds in ``y`` at the same KL or less."""
    found = {method: results.of(task, method) for method in results.methods_of(task)}
    ends = {method: own.mean(axis=0) for method, runs in found.items()
            if len(own := curves.ends(runs, "kl", y)) == len(runs)}
    return [m for m, (kl, gain) in ends.items() if gain > 0 and not any(
        other_kl <= kl and other_gain >= gain and (other_kl, other_gain) != (kl, gain)
        for other_kl, other_gain in ends.values())]


def frontier(results: Results) -> Figure:
    """Reward and judge against KL, a column a task. Of a crowd only those that lead most often have a colour."""
    tasks, judges = results.tasks, [results.judge(task) for task in results.tasks]
    figure = frame.new(WIDE, 2.4 + 3.2 * (2 if any(judges) else 1))
    grid = figure.subplots(2 if any(judges) else 1, len(tasks), squeeze=False, sharex="col")
    readings = [(task, y) for task, judge in zip(tasks, judges, strict=True) for y in ("reward", judge) if y]
    leads = Counter(m for task, y in readings for m in undominated(results, task, y))
    base = [m for m in ("rloo", "zopro", "mezo") if m in results.methods]
    front = [m for m, _ in leads.most_common() if m not in base][: families.CROWD - len(base)]
    crowded = len(results.methods) > families.CROWD
    methods = [m for m in results.methods if not crowded or m in base or m in front]
    outside = ""
    for task, judge, column in zip(tasks, judges, grid.T, strict=True):
        present = results.methods_of(task)
        own, behind = [m for m in present if m in methods], [m for m in present if m not in methods]
        for axes, y in zip(column, ("reward", judge), strict=False):
            if y is None:
                axes.set_axis_off()
                continue
            outside += draw_path(axes, results, task, own, "kl", y, behind)
            axes.set_xlabel(KL.replace(" [", "\n[") if y != "reward" or not judge else "", fontsize=9)
            axes.tick_params(labelbottom=y != "reward" or not judge)
        column[0].set_title(results.title(task), fontsize=11.5, fontweight="bold", pad=8)
    handles, names = _legend(results, methods, tasks, "kl")
    room = frame.top_legend(figure, handles, names, 5)
    kinds = "; ".join(sorted({frame.seeds(results, t, results.methods_of(t)) for t in tasks}))
    grey = (" In colour: RLOO, MeZO, ZOPrO and the methods whose end is most often exceeded by none at the same KL or "
            "less, over tasks and readings; grey: all others, named in the figures of each task.") * crowded
    how = words(results, tasks, results.methods, "kl") + grey + outside
    frame.frame(figure, "What KL buys: reward, and the judge's view of it", kinds, results.reduced(),
                frame.caption(results, tasks, results.methods, how), room)
    return figure
