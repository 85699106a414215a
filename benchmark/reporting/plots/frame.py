"""What every figure of a report shares: page, title, caption, legend, axes, size and file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.core import statistics
from benchmark.core.files import replace_file
from benchmark.reporting.plots import families, style
from benchmark.reporting.read.reader import Results

DPI = 125
PAGE, WIDE = 9.6, 12.8  # inches: 1200 and 1600 pixels
DASHED: dict[str, Any] = {"color": "#999999", "linewidth": 1, "linestyle": (0, (2, 2))}
BEHIND: dict[str, Any] = {"color": "#CCCCCC", "linewidth": 0.9, "zorder": 0.9}
MARKS: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.9}


def new(width: float, height: float) -> Figure:
    """Empty figure of ``width`` × ``height`` inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean of (seeds,) values; ``None`` for fewer than two seeds."""
    if len(values) < 2:
        return None
    return statistics.stratified_bootstrap({"": values}, np.random.default_rng(0), np.mean)


def axis_format(axes: Axes, *, y: bool = True) -> None:
    """Few round ticks, thousands separated, a true minus; on the x-axis alone without ``y``."""
    axes.margins(x=0.02, y=0.06)
    for axis in (axes.xaxis, axes.yaxis) if y else (axes.xaxis,):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def floor(lows: Sequence[float], high: float) -> float | None:
    """Where an axis of reward increases or scores ends below, so that one method cannot flatten all others.

    Args:
        lows: lowest value of each method. high: highest value of all.

    Returns:
        As far below the median of ``lows`` as that lies below ``high``; ``None`` (the axis shows everything) when no
        method falls twice as far.
    """
    middle = float(np.median(lows))
    reach = high - middle
    return middle - reach if min(lows) < middle - 2 * reach else None


def legend(
    results: Results, methods: Sequence[str], tasks: Sequence[str], start: str
) -> tuple[list[Line2D], list[str]]:
    """Handles and names of ``methods``; says how many runs diverged, and n where it differs between methods."""
    looks, handles, names = style.looks(results.methods), [], []
    counts = {len(results.of(task, m)) for task in tasks for m in methods if results.of(task, m)}
    for method in methods:
        look = looks[method]
        drawn = {"color": look.colour, "linestyle": look.line, "linewidth": look.width, "marker": look.marker}
        handles.append(Line2D([], [], markersize=7, **MARKS, **drawn))
        runs = [r for task in tasks for r in results.of(task, method)]
        lost = sum(r.diverged for r in runs)
        words = [f"{lost} of {len(runs)} diverged, ×"] if lost else []
        words += [f"n = {len(runs)}"] if len(counts) > 1 and len(tasks) == 1 and not lost else []
        names.append(style.label(method) + (f" ({words[0]})" if words else ""))
    handles.append(Line2D([], [], **DASHED))
    return handles, [*names, start]


def alone(results: Results, tasks: Sequence[str], methods: Sequence[str]) -> bool:
    """Whether every method has a single seed, so that no interval can be drawn."""
    return all(len(results.of(task, method)) < 2 for task in tasks for method in methods)


def seeds(results: Results, task: str, methods: Sequence[str]) -> str:
    """``"profile tiny, n = 5 seeds per method"``."""
    counts = sorted({n for m in methods if (n := len(results.of(task, m)))})
    shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"profile {results.profile(task)}, n = {shown} seed{'s' if shown != '1' else ''} per method"


def caption(results: Results, tasks: Sequence[str], methods: Sequence[str], how: str) -> str:
    """What is drawn (``how``), then the runs, budget, data, hardware and commit behind it."""
    every = [run for task in tasks for run in results.of(task)]
    drawn = sum(run.method in methods for run in every)
    shown = f" {drawn} runs drawn," if drawn < len(every) else ""
    budgets = sorted({f"{results.budget(t)} a run" for t in tasks})
    data = sorted({results.data(t) for t in tasks})
    return (
        f"{how}{shown} {results.counts(tasks)}. Budget: {'; '.join(budgets)}. Data: {'; '.join(data)}. "
        f"Hardware: {'; '.join(results.values('hardware'))}. Commit: {', '.join(results.commits())}."
    )


def frame(figure: Figure, title: str, subtitle: str, reduced: str, text: str, legend_inches: float = 0.0) -> None:
    """Title, subtitle and caption in fixed inches; the axes get the rest of the page."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int(width * 17), break_long_words=True)
    bottom = 0.22 + 0.155 * len(lines)
    top = 0.78 + legend_inches
    left = 0.15 / width
    figure.text(left, 1 - 0.16 / height, title, fontsize=14, fontweight="bold", va="top")
    second = f"{subtitle}   ·   {reduced}" if reduced else subtitle
    figure.text(left, 1 - 0.46 / height, second, fontsize=10, color=style.MUTED, va="top")
    figure.text(left, 0.09 / height, "\n".join(lines), fontsize=7.5, color=style.MUTED, va="bottom", linespacing=1.35)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # as ``new`` makes figures
    engine.set(rect=(0, bottom / height, 1, 1 - (bottom + top) / height), w_pad=0.12, h_pad=0.08, wspace=0.03)


def top_legend(figure: Figure, handles: Sequence[Line2D], names: Sequence[str], columns: int) -> float:
    """Legend in rows of ``columns`` under the subtitle; returns the inches it takes, for :func:`frame`."""
    width, height = figure.get_size_inches()
    rows = -(-len(names) // columns)
    order = [i for column in range(columns) for i in range(column, len(names), columns)]  # filled row by row
    figure.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="upper left", ncols=columns,
        bbox_to_anchor=(0.05 / width, 1 - 0.68 / height), columnspacing=1.5, handlelength=3.0, fontsize=9.5,
    )  # fmt: skip
    return 0.04 + 0.24 * rows


def rows(axes: Axes, found: Sequence[str | None]) -> None:
    """A row a method from the top, ``None`` being the place of the title of the next one's family."""
    titles = [families.family(found[i + 1] or "") if method is None else style.label(method)
              for i, method in enumerate(found)]
    axes.set_yticks(range(len(found)), titles, fontsize=9 if None in found else None)
    for y, (method, tick) in enumerate(zip(found, axes.get_yticklabels(), strict=True)):
        if method is None:
            tick.set(fontweight="bold", color=style.INK)
            for own in axes.figure.axes:
                own.axhspan(y - 0.5, y + 0.5, color="#F0F0F0", linewidth=0, zorder=0)
    axes.set_ylim(len(found) - 0.5, -0.5)
    for own in axes.figure.axes:
        own.tick_params(axis="y", length=0)
        own.grid(False, axis="y")


def minus(value: float, digits: int = 2) -> str:
    """``value`` with a true minus sign, and none for what rounds to zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if any(c in "123456789" for c in text) else text.lstrip("-")


def beyond(axes: Axes, points: Iterable[tuple[float, float]], colour: str, marker: int) -> None:
    """Arrows at the edge of ``axes`` for what lies outside; an artist without points would spoil the layout."""
    for x, y in points:
        axes.plot([x], [y], color=colour, marker=marker, markersize=6, linestyle="none", clip_on=False, zorder=3)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``figure`` as PNG and SVG at ``stem``: no date, no software version and no random identifier is stored."""
    FigureCanvasAgg(figure)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    replace_file(png, lambda part: figure.savefig(part, format="png", metadata={"Software": None}))
    figure.set_layout_engine("none")  # the places are found; finding them again takes as long as drawing
    replace_file(svg, lambda part: figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None}))
    return [png, svg]
