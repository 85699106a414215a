"""Charts of a bench: seconds of every method by component beside peers and floors; the sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmark.reporting.plots import style
from benchmark.reporting.plots.write import DPI, save
from benchmark.studies.speed import analysis
from benchmark.studies.speed.tables import AXIS_TITLES, number, threads

LOOKS = {  # component: words, colour; the rollout in blues and greens, the update in warm colours
    "generate": ("generate", "#0072B2"), "reference": ("reference", "#56B4E9"), "score": ("score", "#009E73"),
    "critic": ("critic", "#9AD5C1"), "other_rollout": ("other, rollout", "#4D4D4D"), "forward": ("forward", "#E69F00"),
    "backward": ("backward", "#D55E00"), "optimizer": ("optimiser", "#CC79A7"),
    "other_update": ("other, update", "#222222"),
}
BARE = {"peers": "#8C8C8C", "floors": "#C9C9C9"}
TITLES = {"methods": "this suite, one update", "peers": "TRL, one step", "floors": "bare calls on the same rows"}


def write_all(bench: dict[str, Any], folder: Path) -> list[Path]:
    """``bench.png`` and ``bench_sweeps.png`` with their SVGs, as far as there is something to show."""
    written: list[Path] = []
    with matplotlib.style.context(["default", style.RC]):
        if any(analysis.of(bench["figures"], part) for part in TITLES):
            written += save(_bars(bench), folder / "bench")
        if any(row["points"] for row in bench["sweeps"]):
            written += save(_sweeps(bench), folder / "bench_sweeps")
    return written


def _subtitle(bench: dict[str, Any]) -> str:
    hardware = bench["environment"]["hardware"]
    rounds = "1 round" if bench["repeats"] == 1 else f"median and range of {bench['repeats']} rounds"
    return (f"size {bench['size']}, {hardware['gpu'] or hardware['cpu']}, {threads(bench)}, "
            f"{bench['config']['loop']['sequences_per_update']} sequences per update, {rounds}")


def _title(figure: Figure, title: str, subtitle: str) -> None:
    """Two lines at the top left, in fixed inches."""
    width, height = figure.get_size_inches()
    figure.text(0.15 / width, 1 - 0.14 / height, title, fontsize=14, fontweight="bold", va="top")
    figure.text(0.15 / width, 1 - 0.44 / height, subtitle, fontsize=9.5, color=style.MUTED, va="top")
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0, 1, 1 - 0.7 / height))


def _bars(bench: dict[str, Any]) -> Figure:
    groups = {part: entries for part in TITLES if (entries := analysis.of(bench["figures"], part))}
    counts = [len(entries) for entries in groups.values()]
    height = 1.6 + 0.32 * sum(counts) + 0.42 * len(counts)
    figure = Figure(figsize=(10.4, height), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=[n + 0.6 for n in counts])[:, 0]
    shown: dict[str, Any] = {}
    longest = max(max(analysis.seconds(entry)) for entries in groups.values() for entry in entries)
    for axes, (part, entries) in zip(grid, groups.items(), strict=True):
        for place, entry in enumerate(entries):
            _bar(axes, place, part, entry, shown, longest)
        axes.set_yticks(range(len(entries)), [analysis.label(entry) for entry in entries])
        axes.tick_params(axis="y", length=0, labelcolor=style.INK)
        axes.set_ylim(len(entries) - 0.45, -0.55)
        axes.grid(visible=False, axis="y")
        axes.set_title(TITLES[part], fontsize=10.5, fontweight="bold", pad=4)
        axes.set_xlim(0, 1.1 * longest)
    grid[-1].set_xlabel("seconds")
    if shown:
        names = [name for name in LOOKS if name in shown]
        figure.legend([shown[name] for name in names], [LOOKS[name][0] for name in names], loc="outside lower center",
                      ncols=len(names), fontsize=9, handlelength=1.2, columnspacing=1.3)
    _title(figure, "Time of one update", _subtitle(bench))
    return figure


def _bar(axes: Axes, place: int, part: str, entry: dict[str, Any], shown: dict[str, Any], longest: float) -> None:
    middle, low, high = analysis.known_spread(analysis.seconds(entry))
    if part == "methods":
        parts, left = analysis.split(entry), 0.0
        for name, (_, colour) in LOOKS.items():
            width = max(0.0, parts.get(name, 0.0))
            if width:
                bar = axes.barh(place, width, left=left, height=0.66, color=colour, linewidth=0)
                shown.setdefault(name, bar)
                left += width
    else:
        axes.barh(place, middle, height=0.66, color=BARE[part], linewidth=0)
    if high > low:
        axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], color=style.INK, linewidth=1, capsize=2.5)
    axes.text(high + 0.012 * longest, place, number(middle), va="center", fontsize=8.5, color=style.MUTED)


def _sweeps(bench: dict[str, Any]) -> Figure:
    axes_shown = [axis for axis in AXIS_TITLES if any(r["axis"] == axis and r["points"] for r in bench["sweeps"])]
    figure = Figure(figsize=(max(5.5, 2.75 * len(axes_shown) + 0.6), 4.6), dpi=DPI, layout="constrained")
    grid = figure.subplots(1, len(axes_shown), squeeze=False, sharey=True)[0]
    looks = style.looks(list(dict.fromkeys(row["name"] for row in bench["sweeps"])))
    for axes, axis in zip(grid, axes_shown, strict=True):
        for place, row in enumerate(r for r in bench["sweeps"] if r["axis"] == axis and r["points"]):
            _line(axes, row, looks[row["name"]])
            if row["slope"] is not None:
                axes.text(0.04, 0.97 - 0.065 * place, f"slope {row['slope']:z.2f}", color=looks[row["name"]].colour,
                          transform=axes.transAxes, va="top", fontsize=9)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(AXIS_TITLES[axis])
        ticks = sorted({point[0] for r in bench["sweeps"] if r["axis"] == axis for point in r["points"]})
        last = [2 * 2 * ticks[-1]] if any(r["all"] for r in bench["sweeps"] if r["axis"] == axis) else []
        axes.set_xticks([*ticks, *last], [*map(str, ticks), *(["all"] if last else [])])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    grid[0].set_ylabel("seconds per update")
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9.5)
    _title(figure, "Time of one update against size", f"dotted: without the rollout; {_subtitle(bench)}")
    return figure


def _line(axes: Axes, row: dict[str, Any], look: style.Look) -> None:
    xs = [point[0] for point in row["points"]]
    words = style.label(row["name"])
    for column, line, alpha in ((1, look.line, 1.0), (2, (0, (1, 1.5)), 0.7)):
        ys = [point[column][0] for point in row["points"]]
        axes.plot(xs, ys, color=look.colour, linestyle=line, linewidth=1.8 if column == 1 else 1.3, alpha=alpha,
                  marker=look.marker, markersize=6 if column == 1 else 4, markeredgecolor="white",
                  label=words if column == 1 else None)
        if row["all"]:
            axes.plot([4 * xs[-1]], [row["all"][column][0]], color=look.colour, linestyle="", alpha=alpha,
                      marker=look.marker, markersize=6 if column == 1 else 4, markeredgecolor="white")
    errors = [[m - low for _, (m, low, _), _ in row["points"]], [high - m for _, (m, _, high), _ in row["points"]]]
    axes.errorbar(xs, [point[1][0] for point in row["points"]], yerr=errors, color=look.colour, linestyle="",
                  linewidth=0.9, capsize=2)
