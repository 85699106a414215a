"""Normalised scores over all tasks: the interquartile mean of each method, and the profile of its runs.

A score is a test reward increase in standard deviations of r₀ on π₀'s completions of the same task and seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFTBASE

from benchmark.core import statistics
from benchmark.reporting.plots import families, frame, panels, style
from benchmark.reporting.plots.frame import DASHED, MARKS, PAGE
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.aggregate import Scores
from benchmark.reporting.read.reader import Results

SCORE = "normalised score [sd of r₀ on π₀'s completions; 0 = π₀; test]"
TASK_MARKERS = ("o", "s", "^", "D", "v", "p")
THRESHOLDS = 201
PROFILE = (
    "Share of a method's runs whose score is above τ, mean over tasks (performance profile, Agarwal et al. 2021); "
    "higher is better. A diverged run is above no τ."
)
BANDS = " Bands: its 95 % bootstrap interval over seeds, drawn within each task, τ by τ."


def scores(results: Results, found: Scores) -> Figure:
    """Interquartile mean with its interval, a row per method, and every (task, seed) as a dot.

    A crowd is sorted within its families.
    """
    summary = {a.method: a for a in aggregate.aggregate(results)}
    levels = {a.method: a.score.value if a.score else None for a in summary.values()}
    every = [m for group in style.groups(results.headline).values() for m in group]
    rows = families.ranked(list(dict.fromkeys(every)), levels)
    figure = frame.new(PAGE, 2.6 + (0.42 if None not in rows else 0.3) * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0, zorder=1, **DASHED)
    looks, outside = style.looks(results.methods), []
    edge = _floor(found)
    for y, method in enumerate(rows):
        if method is None:
            continue
        look, own = looks[method], summary[method]
        if y % 2 and None not in rows:
            axes.axhspan(y - 0.5, y + 0.5, color="#F6F6F6", zorder=0)
        for task, values in found[method].items():
            place = results.tasks.index(task)
            level = y + 0.3 * (2 * (place + 0.5) / len(results.tasks) - 1)
            known = np.array([v for v in values if v is not None])
            inside = known >= edge
            axes.plot(known[inside], np.full(inside.sum(), level), color=look.colour, linestyle="none", alpha=0.55,
                      marker=TASK_MARKERS[place % len(TASK_MARKERS)], markersize=4.2, markeredgewidth=0, zorder=3)
            frame.beyond(axes, [(edge, level)] * int((~inside).any()), look.colour, CARETLEFTBASE)
            outside += [f"{style.label(method)}, {results.title(task)}, {frame.minus(v)}"
                        for v in known[~inside]]
        if own.score is None:
            axes.text(1.01, y, own.word, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
                      color=style.INK)
            continue
        if own.score.low is not None and own.score.high is not None:
            axes.plot([own.score.low, own.score.high], [y, y], color=style.INK, linewidth=2, zorder=4)
        axes.plot([own.score.value], [y], color=look.colour, marker=look.marker, markersize=10, zorder=5,
                  markeredgecolor=style.INK, markeredgewidth=1.0)
        value, *bounds = (frame.minus(v) for v in (own.score.value, own.score.low, own.score.high)
                          if v is not None)
        spread = f" [{', '.join(bounds)}]" if bounds else ""
        axes.text(1.01, y, f"{value}{spread}  n = {own.n}", va="center", fontsize=8.5, color=style.INK,
                  transform=axes.get_yaxis_transform())
    frame.rows(axes, rows)
    frame.axis_format(axes, y=False)
    axes.set_xlabel(SCORE)
    if outside:
        axes.set_xlim(left=edge)
    handles = [Line2D([], [], color=style.MUTED, marker=TASK_MARKERS[i % len(TASK_MARKERS)], linestyle="none",
                      markersize=5) for i in range(len(results.tasks))]
    room = frame.top_legend(figure, handles, [results.title(t) for t in results.tasks], len(handles))
    arrows = f" Left of the axis (arrows): {'; '.join(outside)}." if outside else ""
    bars = "no interval with a single seed" if _alone(results) else (
        "bars: its 95 % bootstrap interval, seeds drawn within each task")
    words = (f"Large markers: interquartile mean of the normalised scores over seeds × tasks; {bars}. Small marks: "
             f"every run, a (task, seed) each; n counts them.{arrows}")
    _frame(figure, results, "Normalised scores over all tasks", words, room)
    return figure


def _known(found: Scores) -> list[list[float]]:
    """Scores of each method that has any, over all tasks."""
    every = [[v for values in tasks.values() for v in values if v is not None] for tasks in found.values()]
    return [values for values in every if values]


def _floor(found: Scores) -> float:
    """The lowest score that is shown."""
    known = _known(found)
    if not known:
        return 0.0
    lows = [min(values) for values in known]
    floor = frame.floor(lows, max(map(max, known)))
    return min(lows) if floor is None else floor


def above(values: Sequence[float | None], thresholds: np.ndarray) -> np.ndarray:
    """(runs, thresholds): 1 where a run's score is above the threshold, else 0; always 0 if diverged (``None``)."""
    known = np.array([-np.inf if v is None else v for v in values])
    return (known[:, None] > thresholds).astype(np.float64)


def profile_curve(
    by_task: Mapping[str, Sequence[float | None]], thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Share of runs above each threshold, mean over tasks, with its interval over seeds.

    Args:
        by_task: task → score of each seed, ``None`` for a diverged run.
        thresholds: (points,) scores.

    Returns:
        (points,) share and the ends of its interval, which are ``None`` when a task has a single seed.
    """
    tasks = [above(values, thresholds) for values in by_task.values()]
    share = np.mean([task.mean(axis=0) for task in tasks], axis=0)
    if min(map(len, tasks)) < 2:
        return share, None, None
    rng = np.random.default_rng(0)
    drawn = [task[rng.integers(0, len(task), (statistics.SAMPLES, len(task)))].mean(axis=1) for task in tasks]
    tail = (1 - statistics.LEVEL) / 2
    low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail], axis=0)
    return share, low, high


def _whole(results: Results, found: Scores, method: str) -> bool:
    """Whether ``method`` has a score, or a diverged run, for every task and seed."""
    values = [v for by_seed in found[method].values() for v in by_seed]
    lost = sum(run.diverged for run in results.runs if run.method == method)
    return len(found[method]) == len(results.tasks) and values.count(None) == lost


def profile(results: Results, found: Scores) -> Figure:
    """Performance profiles; where there are controls, those in a panel of their own, and of a crowd each family."""
    left_out = [m for m in results.headline if not _whole(results, found, m)]
    whole = [m for m in results.headline if m not in left_out]
    highest = max(map(max, _known(found)), default=1.0)
    thresholds = np.linspace(_floor(found) - 0.02, highest + 0.02, THRESHOLDS)

    def draw(axes: Axes, methods: Sequence[str]) -> panels.Key:
        _draw_profile(axes, {m: found[m] for m in methods}, style.looks(results.methods), thresholds)
        handles, names = axes.get_legend_handles_labels()
        return handles[::-1], names[::-1]

    parts = list(style.groups(whole).values())
    if any(len(methods) > families.CROWD for methods in parts):
        figure = panels.grid(families.panels(whole, whole), draw)
    else:
        figure = frame.new(PAGE, 2.0 + 3.4 * len(parts))
        grid = figure.subplots(len(parts), 1, squeeze=False, sharex=True)[:, 0]
        for axes, methods in zip(grid, parts, strict=True):
            axes.legend(*draw(axes, methods), loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0,
                        handlelength=3.4, fontsize=9)
            axes.set_xlabel(axes.get_xlabel() if axes is grid[-1] else "")
    names = ", ".join(style.label(m) for m in left_out)
    words = PROFILE if _alone(results) else PROFILE + BANDS
    words += f" Not shown, for want of a score on every task: {names}." if names else ""
    _frame(figure, results, "Share of runs above a score", words, 0.0)
    return figure


def _draw_profile(axes: Axes, found: Scores, looks: Mapping[str, style.Look], thresholds: np.ndarray) -> None:
    axes.axvline(0, zorder=1, **DASHED)
    for depth, method in enumerate(reversed(found)):
        look = looks[method]
        share, low, high = profile_curve(found[method], thresholds)
        if low is not None and high is not None:
            axes.fill_between(thresholds, low, high, color=look.colour, alpha=0.12, linewidth=0, zorder=depth)
        axes.plot(thresholds, share, color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
                  markersize=7, markevery=slice(8 + 3 * depth, None, 36), zorder=20 + depth,
                  label=style.label(method), **MARKS)
    frame.axis_format(axes)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("share of runs with score > τ [0–1]")
    axes.set_xlabel(f"threshold τ of the\n{SCORE}")


def _alone(results: Results) -> bool:
    return frame.alone(results, results.tasks, results.methods)


def _frame(figure: Figure, results: Results, title: str, words: str, room: float) -> None:
    kinds = "; ".join(sorted({frame.seeds(results, t, results.methods_of(t)) for t in results.tasks}))
    tasks = f"{len(results.tasks)} task{'s' if len(results.tasks) > 1 else ''}"
    frame.frame(figure, title, f"{tasks}, {kinds}", results.reduced(),
                      frame.caption(results, results.tasks, results.methods, words), room)
