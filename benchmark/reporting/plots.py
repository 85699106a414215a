"""Curves of a result set as PNG and SVG: thin lines are seeds, the thick line is their mean."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.reporting import style
from benchmark.reporting.reader import Results
from benchmark.reporting.runs import Run

DPI = 125
WIDTH = 12.8  # inches: 1600 pixels
X_LABELS = {
    "seconds": "optimisation time [s]",
    "forward_tokens": "compute [million forward tokens]",
    "kl": "KL to π₀ on validation prompts [nats per completion]",
    "reward": "reward on validation prompts [r₀ score]",
}
REWARD = "reward [r₀ score, validation]"
SCALE = {"forward_tokens": 1e6}
LINES = "Thin lines with dots: one seed each, a dot is an evaluation. Thick line: mean over seeds{how}."
ALONE = "Each line is one run, its corners are the evaluations."


def write_all(results: Results, folder: Path) -> list[Path]:
    """Write every figure of ``results`` into ``folder``; returns the paths.

    Same input, same bytes: no date, no software version and no random identifier is stored.
    """
    written: list[Path] = []
    with matplotlib.style.context(["default", style.RC]):
        for task in results.tasks:
            for name, x, words in (
                ("reward_vs_time", "seconds", "reward against optimisation time"),
                ("reward_vs_compute", "forward_tokens", "reward against compute"),
                ("reward_vs_kl", "kl", "reward against KL, the price paid"),
            ):
                figure = _single(results, task, x, f"{results.title(task)}: {words}")
                written += save(figure, folder / f"{name}_{task}")
        written += save(_overview(results), folder / "overview")
    return written


def mean_curve(runs: Sequence[Run], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over ``runs`` of their validation curves, as two (points,) arrays.

    Against a budget (seconds, forward tokens) every curve is interpolated linearly onto the union of all positions, up
    to where the first seed ends: a mean over fewer seeds would jump. Against KL or reward, which do not grow steadily,
    both coordinates are averaged at equal fractions of the budget.
    """
    if x in ("seconds", "forward_tokens"):
        curves = [run.series(x, y) for run in runs]
        if any(c[0].size == 0 for c in curves):
            return np.empty(0), np.empty(0)
        low, high = max(c[0][0] for c in curves), min(c[0][-1] for c in curves)
        grid = np.unique(np.concatenate([c[0] for c in curves]))
        grid = grid[(grid >= low) & (grid <= high)]
        return grid, np.mean([np.interp(grid, *c) for c in curves], axis=0)
    pairs = [(run.series("fraction", x), run.series("fraction", y)) for run in runs]
    if any(c[0].size == 0 for pair in pairs for c in pair):
        return np.empty(0), np.empty(0)
    grid = np.unique(np.concatenate([c[0] for pair in pairs for c in pair]))
    grid = grid[grid <= min(c[0][-1] for pair in pairs for c in pair)]
    along = [np.mean([np.interp(grid, *pair[i]) for pair in pairs], axis=0) for i in (0, 1)]
    return along[0], along[1]


def _draw(axes: Axes, results: Results, task: str, x: str, y: str, looks: dict[str, style.Look]) -> None:
    """All methods of ``task`` into ``axes``, first method on top, with a line at the level of π₀."""
    scale = SCALE.get(x, 1.0)
    starts: dict[int, list[float]] = {}
    for run in results.of(task):
        if (heights := run.series(x, y)[1]).size:
            starts.setdefault(run.seed, []).append(float(heights[0]))
    if starts:  # one π₀ a seed, however many methods show that seed
        level = float(np.mean([np.mean(heights) for heights in starts.values()]))
        axes.axhline(level, color="#999999", linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    for depth, method in enumerate(reversed(results.methods_of(task))):
        look, runs = looks[method], results.of(task, method)
        top = 10 + 10 * depth + (1000 if style.key(method) == "zopro" else 0)
        for run in runs:
            xs, ys = run.series(x, y)
            axes.plot(
                xs / scale, ys, color=look.colour, linewidth=0.8, alpha=0.4, marker="o", markersize=2.6,
                markeredgewidth=0, zorder=top,
            )  # fmt: skip
            if run.diverged and xs.size:
                axes.plot(
                    xs[-1:] / scale, ys[-1:], color=look.colour, marker="x", markersize=9, markeredgewidth=2.2,
                    zorder=top + 2,
                )  # fmt: skip
        xs, ys = mean_curve(runs, x, y)
        # Markers at a few places only: with every evaluation marked the lines could not be followed.
        marks = sorted({round(i) for i in np.linspace(0, len(xs) - 1, 5)[1:]}) if len(xs) > 1 else None
        axes.plot(
            xs / scale, ys, color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
            markersize=7, markeredgecolor="white", markeredgewidth=0.9, markevery=marks, zorder=top + 1,
        )  # fmt: skip
    axes.margins(x=0.02, y=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def _legend(results: Results, looks: dict[str, style.Look], tasks: Sequence[str]) -> tuple[list[Line2D], list[str]]:
    handles, names = [], []
    present = {m for task in tasks for m in results.methods_of(task)}
    for method in (m for m in results.methods if m in present):
        look = looks[method]
        drawn = {"color": look.colour, "linestyle": look.line, "linewidth": look.width, "marker": look.marker}
        handles.append(Line2D([], [], markersize=7, markeredgecolor="white", markeredgewidth=0.9, **drawn))
        runs = [r for task in tasks for r in results.of(task, method)]
        lost = sum(r.diverged for r in runs)
        gap = "\n" if len(tasks) == 1 else " "
        names.append(style.label(method) + (f"{gap}({lost} of {len(runs)} diverged, ×)" if lost else ""))
    handles.append(Line2D([], [], color="#999999", linewidth=1, linestyle=(0, (2, 2))))
    names.append("π₀ (start)")
    return handles, names


def _seeds(results: Results, task: str) -> str:
    counts = sorted({len(results.of(task, m)) for m in results.methods_of(task)})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"profile {results.profile(task)}, {n} seed{'s' if n != '1' else ''} per method"


def _caption(results: Results, tasks: Sequence[str], how: str) -> str:
    budgets = sorted({f"{results.budget(t)} a run" for t in tasks})
    data = sorted({results.data(t) for t in tasks})
    most = max(len(results.of(t, m)) for t in tasks for m in results.methods_of(t))
    lines = LINES.format(how=how) if most > 1 else ALONE
    return (
        f"{lines} {results.counts(tasks)}. Budget: {'; '.join(budgets)}. Data: {'; '.join(data)}. "
        f"Hardware: {'; '.join(results.hardware())}. Commit: {', '.join(results.commits())}."
    )


def _how(x: str) -> str:
    if x in ("seconds", "forward_tokens"):
        return " (linear interpolation, up to where the first seed ends)"
    return " (at equal shares of the budget)"


def _frame(figure: Figure, title: str, subtitle: str, reduced: str, caption: str, legend_inches: float) -> None:
    """Title, subtitle and caption in fixed inches; the axes get the rest of the page."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(width * 17), break_long_words=True)
    bottom = 0.22 + 0.155 * len(lines)
    top = 0.78 + legend_inches
    left = 0.15 / width
    figure.text(left, 1 - 0.16 / height, title, fontsize=14, fontweight="bold", va="top")
    second = figure.text(left, 1 - 0.46 / height, subtitle, fontsize=10, color=style.MUTED, va="top")
    if reduced:
        second.set_text(f"{subtitle}   ·   {reduced}")
    figure.text(left, 0.09 / height, "\n".join(lines), fontsize=7.5, color=style.MUTED, va="bottom", linespacing=1.35)
    engine = figure.get_layout_engine()
    engine.set(rect=(0, bottom / height, 1, 1 - (bottom + top) / height), w_pad=0.12, h_pad=0.08, wspace=0.03)


def _single(results: Results, task: str, x: str, title: str) -> Figure:
    figure = Figure(figsize=(9.6, 5.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    looks = style.looks(results.methods)
    _draw(axes, results, task, x, "reward", looks)
    axes.set_xlabel(X_LABELS[x])
    axes.set_ylabel(REWARD)
    handles, names = _legend(results, looks, [task])
    axes.legend(
        handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=3.4,
        labelspacing=0.75, fontsize=9.5,
    )  # fmt: skip
    caption = _caption(results, [task], _how(x))
    _frame(figure, title, _seeds(results, task), results.reduced(task), caption, 0.0)
    return figure


def _overview(results: Results) -> Figure:
    """One row a reading (time, compute, judge), one column a task."""
    tasks = results.tasks
    judged = [t for t in tasks if results.judge(t)]
    rows: list[tuple[str, str, Callable[[str], str | None]]] = [
        ("seconds", REWARD, lambda task: "reward"),
        ("forward_tokens", REWARD, lambda task: "reward"),
    ]
    if judged:
        rows.append(("reward", "", results.judge))
    figure = Figure(figsize=(WIDTH, 1.9 + 3.0 * len(rows)), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(rows), len(tasks), squeeze=False)
    looks = style.looks(results.methods)
    for i, (x, label, metric) in enumerate(rows):
        for j, task in enumerate(tasks):
            axes, y = grid[i][j], metric(task)
            if y is None:
                axes.set_axis_off()
                continue
            _draw(axes, results, task, x, y, looks)
            axes.set_xlabel(X_LABELS[x])
            if y != "reward":
                words, unit = style.JUDGES[y]
                axes.set_ylabel(f"{words} [{unit}, validation]")
            elif j == 0:
                axes.set_ylabel(label)
            if i == 0:
                axes.set_title(results.title(task), fontsize=11.5, fontweight="bold", pad=8)
    handles, names = _legend(results, looks, tasks)
    columns = len(names) if len(names) <= 8 else 5
    height = figure.get_size_inches()[1]
    figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0.05 / WIDTH, 1 - 0.72 / height), ncols=columns,
        columnspacing=1.5, handlelength=3.0, fontsize=9.5,
    )  # fmt: skip
    title = "Reward under one budget, every method from the same start"
    kinds = sorted({_seeds(results, t) for t in tasks})
    caption = _caption(
        results, tasks, " (linear interpolation up to where the first seed ends; in the last row at equal shares of "
        "the budget)" if judged else _how("seconds"),
    )  # fmt: skip
    _frame(figure, title, "; ".join(kinds), results.reduced(), caption, 0.34 + 0.24 * ((len(names) - 1) // columns))
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``figure`` as PNG and SVG at ``stem``."""
    FigureCanvasAgg(figure)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    figure.savefig(png, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return [png, svg]
