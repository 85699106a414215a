"""Forest plot of a comparison: for every task and method the difference B − A with its interval."""

from __future__ import annotations

from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.reporting.plots import frame, style
from benchmark.reporting.plots.frame import DASHED, WIDE
from benchmark.reporting.tables.comparison import PairedCell, SetComparison

WORDS = (
    "Markers: difference of the mean test reward increase, B − A, over n seeds; bars: 95 % bootstrap interval of that "
    "difference over seeds; small dots: each seed's difference, where seeds are paired. Filled markers: the interval "
    "does not hold 0."
)


def write(comparison: SetComparison, stem: Path) -> list[Path]:
    """Write the plot as PNG and SVG at ``stem``; nothing when no cell has a difference, nor is an earlier one left."""
    for suffix in (".png", ".svg"):
        stem.with_name(stem.name + suffix).unlink(missing_ok=True)
    if not any(cell.difference is not None for cell in comparison.cells):
        return []
    with matplotlib.style.context(["default", style.RC]):
        return frame.save(_forest(comparison), stem)


def _forest(comparison: SetComparison) -> Figure:
    cells = [cell for cell in comparison.cells if cell.seeds[0] and cell.seeds[1]]
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    figure = frame.new(WIDE, 2.2 + 0.34 * len(methods))
    grid = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    looks = style.looks(methods)
    for axes, task in zip(grid, tasks, strict=True):
        axes.axvline(0, zorder=1, **DASHED)
        for cell in (c for c in cells if c.task == task):
            _row(axes, cell, methods.index(cell.method), looks[cell.method])
        frame.axis_format(axes, y=False)
        axes.set_title(comparison.holding(task).title(task), fontsize=11.5, fontweight="bold", pad=8)
        axes.set_xlabel("B − A in reward increase [r₀ score, test]")
        axes.grid(False, axis="y")
    grid[0].set_yticks(range(len(methods)), [style.label(m) for m in methods])
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    counts = sorted({len(seeds) for cell in cells for seeds in cell.seeds})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    reduced = next(filter(None, (results.reduced() for results in comparison.results)), "")
    words = comparison.warning()
    a, b = comparison.names
    frame.frame(figure, f"{a} (A) against {b} (B)", f"n = {n} seeds per method and set",
                      "   ·   ".join(filter(None, (words, reduced))), WORDS)
    return figure


def _row(axes: Axes, cell: PairedCell, y: int, look: style.Look) -> None:
    if cell.difference is None:
        axes.text(0.02, y, cell.verdict, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
                  color=style.MUTED)
        return
    spread = np.linspace(-0.18, 0.18, len(cell.each)) if len(cell.each) > 1 else np.zeros(len(cell.each))
    axes.plot(cell.each, y + spread, color=look.colour, marker="o", markersize=3.6, alpha=0.6, linestyle="none",
              markeredgewidth=0, zorder=2)
    if cell.interval:
        axes.plot(cell.interval, [y, y], color=look.colour, linewidth=2, zorder=3)
    filled = cell.verdict.startswith("differs")
    axes.plot([cell.difference], [y], color=look.colour, marker=look.marker, markersize=8, zorder=4,
              markerfacecolor=look.colour if filled else "white", markeredgewidth=1.4)
    if cell.verdict == "identical curves":
        axes.annotate("identical", (0, y), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8.5,
                      color=style.MUTED)
