"""Static figures of trajectories: policy and reward model of one run, in 2-D and 3-D, beside a random walk."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.reporting.plots import style
from benchmark.reporting.plots.frame import MARKS, frame, new, top_legend
from benchmark.studies.interplay import embed
from benchmark.studies.interplay.analysis import CHANGE, FACTORS, Analysis, Picture
from benchmark.studies.interplay.embed import Embedding

LOOKS = {"policy": style.Look("#0072B2", "o", width=1.8),
         "reward": style.Look("#D55E00", "s", (0, (4, 1.5)), 1.8)}
NAMES = {"policy": "policy", "reward": "reward model"}
LABELS = 12  # iterations that are numbered at most


def picture_of(analysis: Analysis) -> tuple[str, Picture]:
    """The finest one; of equally fine ones that of the weight change, which has no gauge."""
    order = [kind for kind in (CHANGE, FACTORS) if kind in analysis.pictures]
    kind = max(order, key=lambda k: analysis.pictures[k].policy)
    return kind, analysis.pictures[kind]


def embeddings(analysis: Analysis, kind: str, methods: list[str]) -> dict[tuple[str, int], Embedding]:
    """(method, dims) → embedding; dims 0 is the random walk's in two dimensions."""
    picture = analysis.pictures[kind]
    twin = embed.chance(picture, f"{analysis.name} {kind}")
    return {(method, dims): embed.embed(picture if dims else twin, method, dims or 2)
            for method in methods for dims in (2, 3, 0)}


def scenes(analysis: Analysis, kind: str, found: dict[tuple[str, int], Embedding], title: str, subtitle: str
           ) -> Figure:
    """One column an embedding: 2-D, 3-D, and 2-D of independent random updates of the same shapes and norms."""
    methods = list(dict.fromkeys(method for method, _ in found))
    picture = analysis.pictures[kind]
    figure = new(4.2 * max(2, len(methods)) + 0.4, 13.0)
    for column, method in enumerate(methods):
        for line, dims in enumerate((2, 3, 0)):
            axes = figure.add_subplot(3, len(methods), line * len(methods) + column + 1,
                                      projection="3d" if dims == 3 else None)
            if dims == 3:
                solid: Any = axes
                solid.set_box_aspect(None, zoom=0.88)  # the layout does not know of the labels of a third axis
            _draw(axes, found[method, dims], picture)
            if line == 0:
                axes.set_title(method, fontweight="bold", fontsize=11.5)
            if dims == 0:
                axes.set_title(f"{method} of a random walk", fontsize=10.5)
    handles = [Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, markersize=7, **MARKS)
               for look in LOOKS.values()]
    handles += [Line2D([], [], linestyle="none", marker="o", markersize=9, color="white",
                       markeredgecolor=style.INK),
                Line2D([], [], linestyle="none", marker="*", markersize=13, color=style.INK)]
    names = [*NAMES.values(), "start", "end"]
    caption = (f"Measured on the {kind}, {analysis.parameters:,} trained numbers: displacements from each model's own "
               f"start, in units of its own largest one; numbers are iterations. PCA: share of the variance at each "
               f"axis. t-SNE and UMAP keep neighbours together; their lengths and angles mean nothing. Bottom: random, "
               f"mutually independent updates with the shapes and norms of this run, embedded alike.")
    if analysis.error is not None and kind == CHANGE:
        caption += f" Drawn from random projections; cosines are off by at most {analysis.error:.3f}."
    frame(figure, title, subtitle, "", caption, top_legend(figure, handles, names, 4))
    return figure


def _draw(axes: Any, embedding: Embedding, picture: Picture) -> None:
    dims = embedding.policy.shape[1]
    for who, points in (("policy", embedding.policy), ("reward", embedding.reward)):
        look, colour = LOOKS[who], LOOKS[who].colour
        marks = picture.marks if who == "policy" else range(len(points))
        axes.plot(*points.T, color=colour, linestyle=look.line, linewidth=look.width)
        if len(marks) < len(points):
            axes.plot(*points.T, color=colour, linestyle="none", marker=".", markersize=4)
        ends = points[list(marks)]
        if len(ends) > 2:
            axes.plot(*ends[1:-1].T, color=colour, linestyle="none", marker=look.marker, markersize=7, **MARKS)
        axes.plot(*ends[:1].T, linestyle="none", marker=look.marker, markersize=9, color="white",
                  markeredgecolor=colour, markeredgewidth=1.8, zorder=4)
        axes.plot(*ends[-1:].T, linestyle="none", marker="*", markersize=14, color=colour, **MARKS, zorder=5)
        step = max(1, -(-(len(ends) - 1) // LABELS))
        for number in range(step, len(ends), step):
            if dims == 3:
                axes.text(*ends[number], f" {number}", fontsize=8, color=colour)
            else:
                axes.annotate(str(number), ends[number], xytext=(5, 4), textcoords="offset points", fontsize=8.5,
                              color=colour)
    names = [f"{embedding.method} {i + 1}" for i in range(dims)]
    if embedding.explained:
        names = [f"PC {i + 1} ({share:.0%})" for i, share in enumerate(embedding.explained)]
    axes.set_xlabel(names[0], fontsize=9)
    axes.set_ylabel(names[1], fontsize=9)
    axes.tick_params(labelsize=7)
    for axis in (axes.xaxis, axes.yaxis, *([axes.zaxis] if dims == 3 else [])):
        axis.set_major_locator(MaxNLocator(4))
    if dims == 3:
        axes.set_zlabel(names[2], fontsize=9)
        axes.view_init(elev=22, azim=-58)
        return
    axes.margins(0.1)
    if embedding.explained:
        axes.set_aspect("equal", adjustable="datalim")


def points_of(embedding: Embedding) -> dict[str, Any]:
    """Numbers for the page, six digits each."""
    def short(points: np.ndarray) -> list[list[float]]:
        return [[float(f"{value:.6g}") for value in point] for point in points]

    return {"policy": short(embedding.policy), "reward": short(embedding.reward),
            "explained": None if embedding.explained is None else [round(v, 4) for v in embedding.explained]}
