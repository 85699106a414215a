"""The interactive page: trajectories to turn around, angles with what chance gives, layers, and the bowl, in one file.

plotly.js (MIT) is put into the page, so that it needs no network; a content security policy forbids it any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from benchmark.reporting.plots import style
from benchmark.reporting.webpage import embed
from benchmark.studies.interplay import words
from benchmark.studies.interplay.analysis import ALL, RELATIONS, Analysis
from benchmark.studies.interplay.bowl import Path, bowl
from benchmark.studies.interplay.embed import Embedding
from benchmark.studies.interplay.figures import DEVIATIONS, kinds, layer_map
from benchmark.studies.interplay.scenes import LOOKS, NAMES, points_of

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross",
           "X": "x", "<": "triangle-left", ">": "triangle-right", "h": "hexagon", "p": "pentagon", "d": "diamond-tall",
           "8": "octagon", "*": "star", "H": "hexagon2"}


def render(rows: pd.DataFrame, analyses: Sequence[Analysis], found: Mapping[tuple[str, str], Mapping[tuple[str, int],
           Embedding]], paths: Mapping[int, Sequence[Path]], titles: Mapping[str, str], layer: str | None) -> str:
    """The page as HTML; same arguments, same text.

    Args:
        found: (run's name, what was measured on) → (method, dims) → embedding; dims 0 is the random walk's.
        paths: dimensions → paths on the bowl.
    """
    tasks = list(dict.fromkeys(rows.task))
    data = {
        "runs": [_run(a, found, titles) for a in analyses],
        "tasks": [{"title": titles.get(task, task), "methods": _methods(rows, task), "angles": _angles(rows, task),
                   "layers": _layers(rows, task)} for task in tasks],
        "relations": list(RELATIONS.values()), "deviations": DEVIATIONS, "bowl": _bowl(paths),
        "looks": {who: {"colour": colour, "symbol": SYMBOLS[marker], "name": NAMES[who]}
                  for who, (colour, marker, _) in LOOKS.items()},
    }
    lines, rest = words.summary(rows), words.others(rows)
    tables = [{"title": titles.get(task, task),
               "angles": words.cells([line for line in lines if line["task"] == task]),
               "others": [words.other_cells(line) for line in rest if line["task"] == task]} for task in tasks]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(_asset("page.html")).render(
        plotly=get_plotlyjs(), script=_asset("page.js"), data=embed(data), tables=tables, header=words.HEADER,
        other_header=words.OTHER_HEADER, note=words.NOTE, runs=len(analyses),
        where="; ".join(filter(None, ("all layers" if layer is None else f"layer {layer} only",
                                      words.reduced(analyses), words.unmeasured(analyses).rstrip(".")))))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _run(analysis: Analysis, found: Mapping, titles: Mapping[str, str]) -> dict[str, Any]:
    run = analysis.run
    pictures = {}
    for kind, picture in analysis.pictures.items():
        embeddings = found[analysis.name, kind]
        pictures[kind] = {"marks": list(picture.marks), "embeddings": {
            f"{method}|{dims}": points_of(embedding) for (method, dims), embedding in embeddings.items()}}
    return {"label": f"{titles.get(run.task, run.task)}: {style.label(run.method)}, seed {run.seed}",
            "pictures": pictures}


def _methods(rows: pd.DataFrame, task: str) -> list[dict[str, Any]]:
    methods = list(dict.fromkeys(rows[rows.task == task].method))
    looks = style.looks(methods)
    return [{"name": m, "label": style.label(m), "colour": looks[m].colour, "symbol": SYMBOLS[looks[m].marker]}
            for m in methods]


def _numbers(values: Any) -> list[float | None]:
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, float)]


def _angles(rows: pd.DataFrame, task: str) -> dict[str, list[dict[str, Any]]]:
    """What was measured on → a list per relation: the band of chance and every method's angles."""
    rows = rows[(rows.task == task) & (rows.measure == "cosine") & (rows.layer == ALL)]
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in kinds(rows):
        found[kind] = []
        for relation in RELATIONS:
            some = rows[(rows.weights == kind) & (rows.relation == relation)]
            band = some.groupby("iteration").agg(low=("degrees_low", "min"), high=("degrees_high", "max")).dropna()
            lines = []
            for method in dict.fromkeys(rows.method):
                mine = some[some.method == method].dropna(subset="value")
                mean = mine.groupby("iteration").degrees.mean()
                lines.append({"x": [int(i) for i in mean.index], "y": _numbers(mean), "dots": {
                    "x": [int(i) for i in mine.iteration], "y": _numbers(mine.degrees),
                    "seed": [int(s) for s in mine.seed]}})
            found[kind].append({"x": [int(i) for i in band.index], "low": _numbers(band.low),
                                "high": _numbers(band.high), "lines": lines})
    return found


def _layers(rows: pd.DataFrame, task: str) -> list[list[dict[str, Any]]]:
    """Per method, per relation: layers × iterations of the cosine and of the cosine over its deviation by chance."""
    rows = rows[(rows.task == task) & (rows.measure == "cosine")]
    rows = rows[rows.weights == kinds(rows)[0]]
    layers = [layer for layer in dict.fromkeys(rows.layer) if layer != ALL] or [ALL]
    found = []
    for method in dict.fromkeys(rows.method):
        maps = []
        for relation in RELATIONS:
            iterations, scores, values = layer_map(rows[(rows.method == method) & (rows.relation == relation)], layers)
            maps.append({"x": iterations, "y": [f"layer {name}" for name in layers],
                         "z": [_numbers(line) for line in scores], "cosines": [_numbers(line) for line in values]})
        found.append(maps)
    return found


def _bowl(paths: Mapping[int, Sequence[Path]]) -> dict[str, Any]:
    """Paths and losses, and the heights of the bowl on a grid."""
    import torch

    flat = paths[2]
    looks = style.looks([path.method for path in flat])
    points = np.concatenate([path.points for path in flat])
    low, high = points.min(0) - 0.25, points.max(0) + 0.25
    x, y = (np.linspace(low[i], high[i], 60) for i in (0, 1))
    value = bowl(2)[0]
    heights = [[value(torch.tensor([a, b])).item() for a in x] for b in y]
    return {"x": _numbers(x), "y": _numbers(y), "z": [_numbers(line) for line in heights], "paths": [
        {"label": style.label(path.method) if path.method != "rloo" else "backpropagation (AdamW)",
         "colour": looks[path.method].colour, "symbol": SYMBOLS[looks[path.method].marker],
         "points": [_numbers(point) for point in path.points], "loss": _numbers(path.losses)} for path in flat]}
