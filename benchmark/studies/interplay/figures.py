"""Static figures: angles with what chance gives, layers × iterations, shapes of trajectories, and the bowl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmark.reporting.plots import style
from benchmark.reporting.plots.frame import MARKS, frame, minus, new, top_legend
from benchmark.studies.interplay.analysis import ALL, CHANGE, FACTORS, RELATIONS
from benchmark.studies.interplay.nulls import COVERED
from benchmark.studies.interplay.quadratic_demo import ITERATIONS, UPDATES, Path, bowl

BAND = "#D9D9D9"
TITLES = {"same": "policy, reward model:\nsame iteration", "next": "reward model i,\npolicy i + 1",
          "policy": "policy:\ni and i + 1", "reward": "reward model:\ni and i + 1"}
BOWL_LABELS = {"rloo": "backpropagation (AdamW)", "mezo": "Gaussian SPSA", "zopro": "ZOPrO",
               "zopro-no-projection": "ZOPrO without projection"}
DEVIATIONS = 8  # cosines this many standard deviations of chance from 0 have the strongest colour


def kinds(rows: pd.DataFrame) -> list[str]:
    """What was measured on: weight change first, where there is one."""
    return [kind for kind in (CHANGE, FACTORS) if (rows.weights == kind).any()]


def whole(axes: Axes, iterations: pd.Series) -> None:
    """Ticks at whole ``iterations``, eight at most."""
    known = sorted(set(iterations.dropna()))
    axes.set_xticks([float(i) for i in known[:: max(1, -(-len(known) // 8))]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def logarithmic(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic y-axis where ``values`` span more than a factor of 5, with ticks in plain figures."""
    known = [value for value in values if value > 0]
    if known and max(known) > 5 * min(known):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
        axes.yaxis.set_minor_formatter(NullFormatter())


def legend(methods: Sequence[str], band: str) -> tuple[list, list[str]]:
    looks = style.looks(methods)
    handles = [Line2D([], [], color=looks[m].colour, linestyle=looks[m].line, linewidth=looks[m].width,
                      marker=looks[m].marker, markersize=7, **MARKS) for m in methods]
    return [*handles, Patch(color=BAND)], [*(style.label(m) for m in methods), band]


def angles(rows: pd.DataFrame, methods: Sequence[str], title: str, subtitle: str, note: str) -> Figure:
    """Angles over iterations, one column a relation; the grey band is what 95 % of independent random updates of the
    same shapes and norms give (the widest of all runs drawn).

    Args:
        rows: of one task.
    """
    rows = rows[(rows.measure == "cosine") & (rows.layer == ALL)]
    found, looks = kinds(rows), style.looks(methods)
    figure = new(12.8, 2.6 * len(found) + 2.2)
    grid = figure.subplots(len(found), len(RELATIONS), squeeze=False)
    for line, kind in enumerate(found):
        for column, relation in enumerate(RELATIONS):
            axes = grid[line][column]
            some = rows[(rows.weights == kind) & (rows.relation == relation)]
            band = some.groupby("iteration").agg({"degrees_low": "min", "degrees_high": "max"}).dropna()
            axes.bar(band.index.to_numpy(float), band.degrees_high - band.degrees_low, bottom=band.degrees_low,
                     width=1.0, color=BAND, zorder=1)
            axes.axhline(90, color="#999999", linewidth=1, zorder=1.5)
            for method in methods:
                mine = some[some.method == method].dropna(subset="value")
                look = looks[method]
                axes.plot(mine.iteration.to_numpy(float), mine.degrees, linestyle="none", marker=look.marker,
                          markersize=3.5, color=look.colour, alpha=0.45, markeredgewidth=0)
                mean = mine.groupby("iteration").degrees.mean()
                axes.plot(mean.index.to_numpy(float), mean, color=look.colour, linestyle=look.line, marker=look.marker,
                          linewidth=look.width, markersize=7, **MARKS)
            axes.margins(y=0.12)
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, 88), max(high, 92))
            whole(axes, some.iteration)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}°"))
            if line == 0:
                axes.set_title(TITLES[relation], fontsize=10.5, fontweight="bold")
            if line == len(found) - 1:
                axes.set_xlabel("iteration i")
            if column == 0:
                axes.set_ylabel(f"angle, {kind}")
    handles, names = legend(methods, "95 % of independent random updates")
    frame(figure, title, subtitle, "", note, top_legend(figure, handles, names, 5))
    return figure


def layer_map(rows: pd.DataFrame, layers: Sequence[str]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Iterations, and (layers, iterations) of the cosine in standard deviations of chance and of the cosine itself:
    means over seeds, NaN where nothing moved.

    Args:
        rows: cosines of one method and relation.
    """
    rows = rows[rows.layer.isin(layers)]
    rows = rows.assign(score=rows.value / (rows.null_high / COVERED))
    iterations = sorted(int(i) for i in rows.iteration.dropna().unique())
    maps = []
    for name in ("score", "value"):
        means = rows.groupby(["layer", "iteration"])[name].mean().to_dict()
        maps.append(np.array([[means.get((layer, i), np.nan) for i in iterations] for layer in layers], float))
    return iterations, maps[0], maps[1]


def heat(rows: pd.DataFrame, methods: Sequence[str], title: str, subtitle: str, note: str) -> Figure:
    """Layers × iterations, one line of maps a method: cosine in units of its standard deviation by chance.

    Args:
        rows: of one task.
    """
    kind = kinds(rows)[0]
    rows = rows[(rows.measure == "cosine") & (rows.weights == kind) & rows.relation.isin(RELATIONS)]
    layers = [layer for layer in dict.fromkeys(rows.layer) if layer != ALL] or [ALL]
    tall = max(1.15, 0.17 * len(layers) + 0.5)
    figure = new(12.8, tall * len(methods) + 2.0)
    grid = figure.subplots(len(methods), len(RELATIONS), squeeze=False)
    for line, method in enumerate(methods):
        for column, relation in enumerate(RELATIONS):
            axes = grid[line][column]
            iterations, scores, values = layer_map(rows[(rows.method == method) & (rows.relation == relation)], layers)
            if not iterations:  # one iteration has no successor
                axes.axis("off")
                continue
            image = axes.imshow(scores, cmap="RdBu_r", vmin=-DEVIATIONS, vmax=DEVIATIONS, aspect="auto")
            if scores.shape[1] <= 8 and scores.shape[0] <= 8:
                for (y, x), value in np.ndenumerate(values):
                    dark = abs(scores[y, x]) > 0.7 * DEVIATIONS
                    axes.text(x, y, minus(value) if np.isfinite(value) else "–", ha="center", va="center", fontsize=8,
                              color="white" if dark else style.INK)
            axes.grid(False)
            step = max(1, scores.shape[1] // 10)
            axes.set_xticks(range(0, scores.shape[1], step), [str(i) for i in iterations[::step]])
            step = max(1, len(layers) // 8)
            axes.set_yticks(range(0, len(layers), step), layers[::step])
            axes.tick_params(length=0)
            if line == 0:
                axes.set_title(TITLES[relation], fontsize=10.5, fontweight="bold")
            if column == 0:
                axes.set_ylabel(f"{style.label(method)}\nlayer")
            if line == len(methods) - 1:
                axes.set_xlabel("iteration i")
    bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 3.0 / (tall * len(methods))), aspect=20, pad=0.01)
    bar.set_label("cosine [standard deviations of chance]")
    frame(figure, title, subtitle, "", f"{note} Measured on the {kind}; means over seeds; numbers in the cells are "
          f"cosines. White is chance; the colours end at ±{DEVIATIONS} standard deviations.")
    return figure


PANELS = (  # measure, relation, title
    ("norm", "policy", "norm of an update,\npolicy"), ("norm", "reward", "norm of an update,\nreward model"),
    ("participation ratio", "policy", "singular directions\nof ΔW, policy"),
    ("participation ratio", "reward", "singular directions\nof ΔW, reward model"),
    ("distance correlation", "same", "distance correlation² of\ncoordinates, same iteration"),
    ("distance correlation", "trajectories", "distance correlation²\nof the trajectories"),
    ("Procrustes disparity", "trajectories", "Procrustes disparity\nof the trajectories"),
    ("directions", "policy", "directions of all\npolicy updates"),
)


def shapes(rows: pd.DataFrame, methods: Sequence[str], title: str, subtitle: str, note: str) -> Figure:
    """Norms, participation ratios, distance correlations, Procrustes disparity; grey is chance, its mean a dash.

    Args:
        rows: of one task.
    """
    kind, looks = kinds(rows)[0], style.looks(methods)
    rows = rows[rows.layer == ALL]
    panels = []
    for measure, relation, words in PANELS:
        some = rows[(rows.measure == measure) & (rows.relation == relation)]
        mine = some[some.weights == kind]
        if len(mine) or len(some):
            panels.append((mine if len(mine) else some, words, measure))
    figure = new(12.8, 3.0 * -(-len(panels) // 4) + 1.9)
    grid = figure.subplots(-(-len(panels) // 4), 4, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (some, words, measure) in zip(grid, panels, strict=False):
        series = some.iteration.notna().any()
        for place, method in enumerate(methods):
            look, mine = looks[method], some[some.method == method].dropna(subset="value")
            if series:
                _over_iterations(axes, mine, look)
            else:
                _beside_chance(axes, mine, look, place)
        if measure == "norm":
            logarithmic(axes, some.value)
        if series:
            whole(axes, some.iteration)
            axes.set_xlabel("iteration")
        else:
            axes.set_xticks([])
            axes.set_xlim(-0.7, len(methods) - 0.3)
        axes.set_title(words, fontsize=10, fontweight="bold")
    handles, names = legend(methods, "95 % of independent random updates")
    frame(figure, title, subtitle, "", note, top_legend(figure, handles, names, 5))
    return figure


def _over_iterations(axes: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    x = rows.iteration.to_numpy(float)
    axes.vlines(x, rows.null_low, rows.null_high, color=BAND, linewidth=11, zorder=1)
    axes.plot(x, rows.null_mean, linestyle="none", marker="_", markersize=11, color="#999999", zorder=1.5)
    axes.plot(x, rows.value, linestyle="none", marker=look.marker, markersize=3.5, color=look.colour, alpha=0.45,
              markeredgewidth=0)
    mean = rows.groupby("iteration").value.mean()
    axes.plot(mean.index.to_numpy(float), mean, color=look.colour, linestyle=look.line, linewidth=look.width,
              marker=look.marker, markersize=6, **MARKS)


def _beside_chance(axes: Axes, rows: pd.DataFrame, look: style.Look, place: int) -> None:
    x = place + 0.12 * (np.arange(len(rows)) - (len(rows) - 1) / 2)
    axes.vlines(x, rows.null_low, rows.null_high, color=BAND, linewidth=11, zorder=1)
    axes.plot(x, rows.null_mean, linestyle="none", marker="_", markersize=11, color="#999999", zorder=1.5)
    axes.plot(x, rows.value, linestyle="none", color=look.colour, marker=look.marker, markersize=7, **MARKS)


def bowls(runs: Mapping[int, Sequence[Path]]) -> Figure:
    """Paths on the two-dimensional bowl, and the loss over updates there and in many dimensions."""
    figure = new(12.8, 5.9)
    grid = figure.subplots(1, 1 + len(runs), width_ratios=[1.5, *[1] * len(runs)])
    flat = list(runs[2])
    looks = style.looks([path.method for path in flat])
    axes, value = grid[0], bowl(2)[0]
    points = np.concatenate([path.points for path in flat])
    low, high = points.min(0) - 0.25, points.max(0) + 0.25
    x, y = np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 80))
    z = np.array([value(torch.tensor(p)).item() for p in np.stack([x.ravel(), y.ravel()], 1)]).reshape(x.shape)
    axes.contour(x, y, z, levels=np.linspace(0.0, 1, 12)[1:] ** 2 * z.max(), colors="#C9C9C9", linewidths=0.8)
    for path in flat:
        look = looks[path.method]
        axes.plot(*path.points.T, color=look.colour, linestyle=look.line, linewidth=1.6, marker=look.marker,
                  markersize=3.2, markeredgewidth=0)
        axes.plot(*path.points[UPDATES::UPDATES].T, linestyle="none", color=look.colour, marker=look.marker,
                  markersize=8.5, **MARKS)
    axes.plot(*flat[0].points[0], marker="o", markersize=11, color="white", markeredgecolor=style.INK)
    axes.annotate("start", flat[0].points[0], xytext=(8, 8), textcoords="offset points", fontsize=9)
    axes.plot(0, 0, marker="+", markersize=11, color=style.INK)
    axes.set_title("paths in 2 dimensions", fontweight="bold", fontsize=11)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(False)
    for axes, (dimensions, found) in zip(grid[1:], runs.items(), strict=True):
        for path in found:
            look = looks[path.method]
            axes.plot(path.losses / path.losses[0], color=look.colour, linestyle=look.line, linewidth=look.width)
        for iteration in range(1, ITERATIONS):
            axes.axvline(iteration * UPDATES, color="#999999", linewidth=0.8, linestyle=(0, (2, 2)))
        logarithmic(axes, [value for path in found for value in path.losses / path.losses[0]])
        axes.set_title(f"loss, {dimensions:,} dimensions", fontweight="bold", fontsize=11)
        axes.set_xlabel("updates")
        axes.set_ylabel("loss [share of the start's]")
    handles = [Line2D([], [], color=look.colour, linestyle=look.line, linewidth=look.width, marker=look.marker,
                      markersize=7, **MARKS) for look in looks.values()]
    frame(figure, "First-order, zeroth-order and ZOPrO paths down a bowl", "the suite's own estimators on "
          f"½ Σ cᵢxᵢ², {ITERATIONS} iterations of {UPDATES} updates", "",
          "Large marks and dotted lines end an iteration; ZOPrO's first is backpropagation. The reward model's update "
          "is given as the paper reads it: orthogonal to the policy's. In two dimensions that leaves ZOPrO's noise one "
          "direction, the previous update's; in a thousand it takes nothing away.",
          top_legend(figure, handles, [BOWL_LABELS[m] for m in looks], 4))
    return figure
