"""Reward over a run: against time and compute, against KL (the price paid), and the judge against the reward.

Every value is a change from π₀ of the same seed: seeds train their own π₀ and r₀, so that raw rewards of two seeds do
not start at one level. The raw values are in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETDOWNBASE

from benchmark.reporting.plots import frame, style
from benchmark.reporting.plots.frame import DASHED, MARKS, PAGE, WIDE
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

POINTS = 65  # of a mean curve
BUDGETS = {
    "seconds": ("optimisation time [s]", 1.0, "reward against optimisation time"),
    "forward_tokens": ("compute [million forward tokens]", 1e6, "reward against compute"),
}
INCREASE = "increase in reward [r₀ score, validation]"
KL = "KL to π₀ on validation prompts [nats per completion]"
BAND = (
    "Lines: mean over n seeds, as far as every seed has reached; bands: its 95 % bootstrap interval over seeds, point "
    "by point."
)
ENDS = "Small dots: where each seed ended."
STRIP = "Right: the same ends, with their mean over n seeds and its 95 % bootstrap interval (vertical bar)."
ALONE = "Each line is one run, a dot or marker at its end where it ended; a single seed has no interval."
PATH = (
    "Thin lines: one seed each. Thick lines: mean over n seeds at equal shares of the budget, from π₀ at the origin; "
    "large markers: end of the budget, with the 95 % bootstrap interval of the mean over seeds along each axis. Small "
    "dots: where each seed ended."
)


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


def changes(run: FinishedRun, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Validation curve as two (evaluations,) arrays; a metric other than KL as its change from π₀."""
    xs, ys = run.series(x, y)
    if x in style.JUDGES or x == "reward":
        xs = xs - xs[:1]
    return xs, ys - ys[:1]


def _ends(runs: Sequence[FinishedRun], x: str, y: str) -> np.ndarray:
    """(finished runs, 2): the last point of each run that did not diverge."""
    curves = [changes(run, x, y) for run in runs if not run.diverged]
    return np.array([(xs[-1], ys[-1]) for xs, ys in curves if xs.size]).reshape(-1, 2)


def _lost(axes: Axes, runs: Sequence[FinishedRun], x: str, y: str, scale: float, look: style.Look, zorder: int) -> None:
    """× at the last finite point of each diverged run."""
    for run in (r for r in runs if r.diverged):
        xs, ys = changes(run, x, y)
        axes.plot(xs[-1:] / scale, ys[-1:], color=look.colour, marker="x", markersize=8, markeredgewidth=2.2,
                  linestyle="none", zorder=zorder)


def _depths(methods: Sequence[str]) -> list[tuple[int, str]]:
    """Drawing order: the first method on top, ZOPrO above all."""
    order = [(10 + 10 * i + (1000 if style.key(m) == "zopro" else 0), m) for i, m in enumerate(reversed(methods))]
    return sorted(order)


def _floor(axes: Axes, results: Results, task: str, methods: Sequence[str], judge: str = "") -> str:
    """End the axis of reward increases where one method would flatten the others; says which runs ended outside.

    Args:
        judge: metric of the y-axis where the reward is on the x-axis, so that it is fitted to what is left.
    """
    runs = [run for m in methods for run in results.of(task, m)]
    curves = {run.name: changes(run, "fraction", "reward")[1] for run in runs}
    lows = [min(curves[run.name].min() for run in results.of(task, m)) for m in methods]
    low = frame.floor(lows, max(ys.max() for ys in curves.values()))
    if low is None:
        return ""
    if judge:
        axes.set_xlim(left=low)
        left = np.concatenate([ys[xs >= low] for xs, ys in (changes(run, "reward", judge) for run in runs)])
        room = 0.06 * np.ptp(left)
        axes.set_ylim(left.min() - room, left.max() + room)
    else:
        axes.set_ylim(bottom=low)
    ends = [(run, curves[run.name][-1]) for run in runs]
    outside = [f"{style.label(r.method)} seed {r.seed} at {frame.minus(y)}" for r, y in ends if y < low]
    return f" Outside the axes ended: {', '.join(outside)}." if outside else ""


def draw_budget(axes: Axes, results: Results, task: str, methods: Sequence[str], kind: str,
                metric: str = "reward") -> str:
    """Mean increase with its interval against ``kind``, and each seed's end; returns what lies outside the axes, which
    only those of the reward may leave out."""
    label, scale, _ = BUDGETS[kind]
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    for depth, method in _depths(methods):
        look, runs = looks[method], results.of(task, method)
        grid, mean, low, high, _ = aggregate.curves(results, task, method, kind, POINTS, metric)
        if low is not None and high is not None:
            axes.fill_between(grid / scale, low, high, color=look.colour, alpha=0.13, linewidth=0, zorder=depth - 8)
        # Markers at a few places only: with every point marked the lines could not be followed.
        marks = sorted({round(i) for i in np.linspace(0, len(grid) - 1, 5)[1:]}) if len(grid) > 1 else None
        axes.plot(grid / scale, mean, color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
                  markersize=7, markevery=marks, zorder=depth, **MARKS)
        ends = _ends(runs, kind, metric)
        axes.plot(ends[:, 0] / scale, ends[:, 1], color=look.colour, marker="o", markersize=3.6, linestyle="none",
                  alpha=0.8, markeredgewidth=0, zorder=depth + 1)
        _lost(axes, runs, kind, metric, scale, look, depth + 2)
    frame.axis_format(axes)
    axes.set_xlabel(label)
    return _floor(axes, results, task, methods) if metric == "reward" else ""


def _strip(axes: Axes, results: Results, task: str, methods: Sequence[str]) -> None:
    """One column a method: every seed's end as a dot, the mean and its interval."""
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    bottom = axes.get_ylim()[0]
    for column, method in enumerate(methods):
        look, runs = looks[method], results.of(task, method)
        ends = _ends(runs, "seconds", "reward")[:, 1]
        spread = np.linspace(-0.16, 0.16, len(ends)) if len(ends) > 1 else np.zeros(len(ends))
        inside = ends >= bottom
        axes.plot(column + spread[inside], ends[inside], color=look.colour, marker="o", markersize=4, linestyle="none",
                  alpha=0.75, markeredgewidth=0, zorder=3)
        frame.beyond(axes, [(column + x, bottom) for x in spread[~inside]], look.colour, CARETDOWNBASE)
        if any(run.diverged for run in runs):
            axes.text(column, 0.5, "diverged", rotation=90, ha="center", va="center", fontsize=8, color=look.colour,
                      transform=axes.get_xaxis_transform())
            continue
        if (bounds := frame.interval(ends)) is not None:
            axes.plot([column] * 2, bounds, color=style.INK, linewidth=1.6, zorder=4)
        axes.plot([column], [ends.mean()], color=look.colour, marker=look.marker, markersize=8, zorder=5,
                  markeredgecolor=style.INK, markeredgewidth=0.9)
    axes.set_xlim(-0.7, len(methods) - 0.3)
    axes.set_xticks(range(len(methods)), [style.label(m) for m in methods], rotation=50, ha="right", fontsize=8,
                    rotation_mode="anchor")
    axes.grid(False, axis="x")
    axes.tick_params(labelleft=False, left=False)
    axes.set_title("end of the budget", fontsize=9.5, color=style.MUTED, loc="center")


def budget(results: Results, task: str, methods: Sequence[str], kind: str, whose: str = "") -> Figure:
    """Reward increase against ``kind`` with intervals; at the right every seed's end, column by column.

    Args:
        whose: what the title says of ``methods``, if anything.
    """
    figure = frame.new(PAGE, 5.2 + 0.05 * max(len(style.label(m)) for m in methods))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2.1, 1.0 + 0.12 * max(0, len(methods) - 7)])
    outside = draw_budget(left, results, task, methods, kind)
    left.set_ylabel(INCREASE)
    _strip(right, results, task, methods)
    handles, names = frame.legend(results, methods, [task], "π₀ (start)")
    room = frame.top_legend(figure, handles, names, 5 if len(methods) < 9 else 4)
    title = f"{results.title(task)}: {BUDGETS[kind][2]}{whose}"
    words = ALONE if frame.alone(results, [task], methods) else f"{BAND} {ENDS} {STRIP}"
    frame.frame(figure, title, frame.seeds(results, task, methods), results.reduced(task),
                      frame.caption(results, [task], methods, words + outside), room)
    return figure


def draw_path(axes: Axes, results: Results, task: str, methods: Sequence[str], x: str, y: str) -> str:
    """Paths from π₀ through two metrics: thin seeds, thick mean, the end marked with intervals along both axes.

    Returns:
        What lies outside the axes.
    """
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    if x == "reward":
        axes.axvline(0, zorder=1, **DASHED)
    for depth, method in _depths(methods):
        look, runs = looks[method], results.of(task, method)
        for run in runs:
            axes.plot(*changes(run, x, y), color=look.colour, linewidth=0.6, alpha=0.3, zorder=depth - 8)
        xs, ys = mean_curve(runs, x, y)
        xs = xs - xs[:1] if x != "kl" else xs
        axes.plot(xs, ys - ys[:1], color=look.colour, linestyle=look.line, linewidth=look.width, zorder=depth)
        _lost(axes, runs, x, y, 1.0, look, depth + 4)
        ends = _ends(runs, x, y)
        axes.plot(*ends.T, color=look.colour, marker="o", markersize=3.6, linestyle="none", alpha=0.8,
                  markeredgewidth=0, zorder=depth + 1)
        if any(run.diverged for run in runs) or len(ends) < len(runs):
            continue
        centre = ends.mean(axis=0)
        if (wide := frame.interval(ends[:, 0])) and (tall := frame.interval(ends[:, 1])):
            axes.plot(wide, [centre[1]] * 2, color=look.colour, linewidth=1.1, zorder=depth + 2)
            axes.plot([centre[0]] * 2, tall, color=look.colour, linewidth=1.1, zorder=depth + 2)
        axes.plot(*centre, color=look.colour, marker=look.marker, markersize=9.5, zorder=depth + 3,
                  markeredgecolor=style.INK, markeredgewidth=0.9, linestyle="none")
    frame.axis_format(axes)
    words, unit = style.JUDGES.get(y, ("", ""))
    axes.set_xlabel(KL if x == "kl" else INCREASE)
    axes.set_ylabel(f"change in {words} [{unit}, validation]" if words else INCREASE)
    return _floor(axes, results, task, methods, y if x == "reward" else "")


def path(results: Results, task: str, methods: Sequence[str], x: str, y: str, title: str) -> Figure:
    """Paths through two metrics as one figure."""
    figure = frame.new(PAGE, 5.6)
    axes = figure.add_subplot()
    outside = draw_path(axes, results, task, methods, x, y)
    handles, names = frame.legend(results, methods, [task], "level of π₀")
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=3.4,
                labelspacing=0.75, fontsize=9.5)
    words = ALONE if frame.alone(results, [task], methods) else PATH
    frame.frame(figure, f"{results.title(task)}: {title}", frame.seeds(results, task, methods),
                      results.reduced(task), frame.caption(results, [task], methods, words + outside))
    return figure


def overview(results: Results) -> Figure:
    """One row a reading (time, compute, judge), one column a task; without the controls where there is more."""
    tasks, methods = results.tasks, style.groups(results.methods)[""]
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
        row[0].set_ylabel(INCREASE, fontsize=9)
    handles, names = frame.legend(results, methods, tasks, "level of π₀")
    room = frame.top_legend(figure, handles, names, len(names) if len(names) <= 8 else 5)
    kinds = "; ".join(sorted({frame.seeds(results, t, methods) for t in tasks}))
    last = f" Last row: {PATH[0].lower()}{PATH[1:]}" if any(judges) else ""
    words = f"{BAND} {ENDS}{last}"
    if frame.alone(results, tasks, methods):
        words = ALONE
    words += "".join(sorted(outside))
    frame.frame(figure, "Reward under one budget, every method from the same start", kinds, results.reduced(),
                      frame.caption(results, tasks, methods, words), room)
    return figure
