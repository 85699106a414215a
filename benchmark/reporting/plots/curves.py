"""Reward over a run, against time and compute.

Every value is a change from π₀ of the same seed: seeds train their own π₀ and r₀, so that raw rewards of two seeds do
not start at one level. The raw values are in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETDOWNBASE

from benchmark.core import statistics
from benchmark.reporting.plots import frame, style
from benchmark.reporting.plots.frame import BEHIND, DASHED, MARKS, PAGE
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

POINTS = 65  # of a mean curve
BUDGETS = {
    "seconds": ("optimisation time [s]", 1.0, "reward against optimisation time"),
    "forward_tokens": ("compute [million forward tokens]", 1e6, "reward against compute"),
}
INCREASE = "increase in reward\n[r₀ score, validation]"
BAND = (
    "Lines: mean over n seeds, as far as every seed has reached; bands: its 95 % bootstrap interval over seeds, point "
    "by point."
)
ENDS = "Small dots: where each seed ended."
STRIP = "Right: the same ends, with their mean over n seeds and its 95 % bootstrap interval (vertical bar)."
ALONE = "Each line is one run, a dot or marker at its end where it ended; a single seed has no interval."
SAMPLED = (
    "Each line is one run, a dot or marker at its end where it ended; bands and bars: 95 % interval from prompts and "
    "completions (1.96 standard errors of the increase), not from seeds."
)


def changes(run: FinishedRun, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Validation curve as two (evaluations,) arrays; a metric other than KL as its change from π₀."""
    xs, ys = run.series(x, y)
    if x in style.JUDGES or x == "reward":
        xs = xs - xs[:1]
    return xs, ys - ys[:1]


def ends(runs: Sequence[FinishedRun], x: str, y: str) -> np.ndarray:
    """(finished runs, 2): the last point of each run that did not diverge."""
    curves = [changes(run, x, y) for run in runs if not run.diverged]
    return np.array([(xs[-1], ys[-1]) for xs, ys in curves if xs.size]).reshape(-1, 2)


def sampled(runs: Sequence[FinishedRun], values: np.ndarray, metric: str) -> tuple[float, float] | None:
    """95 % interval of a single run's last increase of ``metric`` (its one value) by its standard error.

    ``None`` for several runs and where no standard error was recorded.
    """
    errors = runs[0].series("fraction", f"{metric}_se")[1]
    if len(values) != 1 or len(runs) != 1 or not errors.size:
        return None
    reach = statistics.NORMAL * errors[-1]
    return values[0] - reach, values[0] + reach


def lost(axes: Axes, runs: Sequence[FinishedRun], x: str, y: str, scale: float, look: style.Look, zorder: int) -> None:
    """× at the last finite point of each diverged run."""
    for run in (r for r in runs if r.diverged):
        xs, ys = changes(run, x, y)
        axes.plot(xs[-1:] / scale, ys[-1:], color=look.colour, marker="x", markersize=8, markeredgewidth=2.2,
                  linestyle="none", zorder=zorder)


def depths(methods: Sequence[str]) -> list[tuple[int, str]]:
    """Drawing order: the first method on top, ZOPrO above all."""
    order = [(10 + 10 * i + (1000 if style.key(m) == "zopro" else 0), m) for i, m in enumerate(reversed(methods))]
    return sorted(order)


def floor(axes: Axes, results: Results, task: str, methods: Sequence[str], judge: str = "") -> str:
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
    last = [(run, curves[run.name][-1]) for run in runs]
    outside = [f"{style.label(r.method)} seed {r.seed} at {frame.minus(y)}" for r, y in last if y < low]
    return f" Outside the axes ended: {', '.join(outside)}." if outside else ""


def words(results: Results, tasks: Sequence[str], methods: Sequence[str], several: str) -> str:
    """How a figure is to be read: ``several`` where any method has more than a seed, else what the band of one is."""
    if not frame.alone(results, tasks, methods):
        return several
    runs = [run for task in tasks for run in results.of(task) if run.method in methods]
    return SAMPLED if any(run.series("fraction", "reward_se")[0].size for run in runs) else ALONE


def draw_budget(axes: Axes, results: Results, task: str, methods: Sequence[str], kind: str,
                metric: str = "reward", behind: Sequence[str] = ()) -> str:
    """Mean increase with its interval against ``kind``, and each seed's end; returns what lies outside the axes, which
    only those of the reward may leave out.

    Args:
        behind: methods drawn in grey, without interval.
    """
    label, scale, _ = BUDGETS[kind]
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    for method in behind:
        grid, mean, *_ = aggregate.curves(results, task, method, kind, POINTS, metric, interval=False)
        axes.plot(grid / scale, mean, **BEHIND)
    for depth, method in depths(methods):
        look, runs = looks[method], results.of(task, method)
        grid, mean, low, high, *_ = aggregate.curves(results, task, method, kind, POINTS, metric)
        if low is not None and high is not None:
            axes.fill_between(grid / scale, low, high, color=look.colour, alpha=0.13, linewidth=0, zorder=depth - 8)
        # Markers at a few places only: with every point marked the lines could not be followed.
        marks = sorted({round(i) for i in np.linspace(0, len(grid) - 1, 5)[1:]}) if len(grid) > 1 else None
        axes.plot(grid / scale, mean, color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
                  markersize=7, markevery=marks, zorder=depth, **MARKS)
        own = ends(runs, kind, metric)
        axes.plot(own[:, 0] / scale, own[:, 1], color=look.colour, marker="o", markersize=3.6, linestyle="none",
                  alpha=0.8, markeredgewidth=0, zorder=depth + 1)
        lost(axes, runs, kind, metric, scale, look, depth + 2)
    frame.axis_format(axes)
    axes.set_xlabel(label)
    axes.set_ylabel(INCREASE)
    return floor(axes, results, task, [*methods, *behind]) if metric == "reward" else ""


def _strip(axes: Axes, results: Results, task: str, methods: Sequence[str]) -> None:
    """One column a method: every seed's end as a dot, the mean and its interval."""
    looks = style.looks(results.methods)
    axes.axhline(0, zorder=1, **DASHED)
    bottom = axes.get_ylim()[0]
    for column, method in enumerate(methods):
        look, runs = looks[method], results.of(task, method)
        own = ends(runs, "seconds", "reward")[:, 1]
        spread = np.linspace(-0.16, 0.16, len(own)) if len(own) > 1 else np.zeros(len(own))
        inside = own >= bottom
        axes.plot(column + spread[inside], own[inside], color=look.colour, marker="o", markersize=4, linestyle="none",
                  alpha=0.75, markeredgewidth=0, zorder=3)
        frame.beyond(axes, [(column + x, bottom) for x in spread[~inside]], look.colour, CARETDOWNBASE)
        if any(run.diverged for run in runs):
            axes.text(column, 0.5, "diverged", rotation=90, ha="center", va="center", fontsize=8, color=look.colour,
                      transform=axes.get_xaxis_transform())
            continue
        if (bounds := frame.interval(own) or sampled(runs, own, "reward")) is not None:
            axes.plot([column] * 2, bounds, color=style.INK, linewidth=1.6, zorder=4)
        axes.plot([column], [own.mean()], color=look.colour, marker=look.marker, markersize=8, zorder=5,
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
    _strip(right, results, task, methods)
    handles, names = frame.legend(results, methods, [task], "π₀ (start)")
    room = frame.top_legend(figure, handles, names, 5 if len(methods) < 9 else 4)
    title = f"{results.title(task)}: {BUDGETS[kind][2]}{whose}"
    how = words(results, [task], methods, f"{BAND} {ENDS} {STRIP}")
    frame.frame(figure, title, frame.seeds(results, task, methods), results.reduced(task),
                      frame.caption(results, [task], methods, how + outside), room)
    return figure
