"""The interactive page: trajectories to turn around, angles with what chance gives, layers, and the bowl, in one file
made as the report's page is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.reporting import webpage
from benchmark.reporting.plots import style
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import blocks, payload
from benchmark.studies.interplay import sentences
from benchmark.studies.interplay.analysis import ALL, RELATIONS, Analysis
from benchmark.studies.interplay.embed import Embedding
from benchmark.studies.interplay.figures import BOWL_LABELS, DEVIATIONS, kinds, layer_map
from benchmark.studies.interplay.quadratic_demo import CURVATURES, UPDATES, Path
from benchmark.studies.interplay.scenes import LOOKS, NAMES, points_of


def render(rows: pd.DataFrame, analyses: Sequence[Analysis], found: Mapping[tuple[str, str], Mapping[tuple[str, int],
           Embedding]], paths: Mapping[int, Sequence[Path]], titles: Mapping[str, str], layer: str | None) -> str:
    """The page as HTML; same arguments, same text.

    Args:
        found: (run's name, what was measured on) → (method, dims) → embedding; dims 0 is the random walk's.
        paths: dimensions → paths on the bowl.
    """
    tasks = list(dict.fromkeys(rows.task))
    methods = list(dict.fromkeys([*rows.method, *(path.method for path in paths[2])]))
    looks = payload.methods(methods)
    marks = {look["label"]: f"method-{i}" for i, look in enumerate(looks)}
    looks += [{"name": who, "label": NAMES[who], **payload.drawn(look)} for who, look in LOOKS.items()]
    data = {
        "looks": looks, "star": payload.marker("*")[0], "relations": list(RELATIONS.values()),
        "deviations": DEVIATIONS, "runs": [_run(a, found, titles) for a in analyses],
        "tasks": [_task(rows[rows.task == task], titles.get(task, task), methods) for task in tasks],
        "bowl": _bowl(paths[2], methods),
    }
    lines, rest = sentences.summary(rows), sentences.others(rows)
    tables = []
    for task in tasks:
        title = titles.get(task, task)
        angles = sentences.cells([line for line in lines if line["task"] == task])
        others = [sentences.other_cells(line) for line in rest if line["task"] == task]
        tables.append([blocks.of(Sheet(key, title, "", header, tuple(map(tuple, cells))), marks)
                       for key, title, header, cells in (
                           (f"angles-{task}", title, sentences.HEADER, angles),
                           (f"others-{task}", f"{title}: measures that are no angles", sentences.OTHER_HEADER,
                            others))])
    return webpage.page(
        "interplay.html", ["interplay.js"], looks, data, __package__, tables=tables, note=sentences.NOTE,
        runs=len(analyses), where="; ".join(filter(None, ("all layers" if layer is None else f"layer {layer} only",
                                                          sentences.reduced(analyses),
                                                          sentences.unmeasured(analyses).rstrip(".")))))


def _run(analysis: Analysis, found: Mapping, titles: Mapping[str, str]) -> dict[str, Any]:
    run = analysis.run
    pictures = {}
    for kind, picture in analysis.pictures.items():
        embeddings = found[analysis.name, kind]
        pictures[kind] = {"marks": list(picture.marks), "embeddings": {
            f"{method}|{dims}": points_of(embedding) for (method, dims), embedding in embeddings.items()}}
    return {"label": f"{titles.get(run.task, run.task)}: {style.label(run.method)}, seed {run.seed}",
            "pictures": pictures}


def _task(rows: pd.DataFrame, title: str, methods: Sequence[str]) -> dict[str, Any]:
    """What is drawn of the rows of one task; methods are indices into ``methods``."""
    mine = list(dict.fromkeys(rows.method))
    rows = rows[rows.measure == "cosine"]
    return {"title": title, "methods": [methods.index(method) for method in mine],
            "angles": {kind: _angles(rows[(rows.weights == kind) & (rows.layer == ALL)], mine, methods)
                       for kind in kinds(rows)},
            "layers": [_layers(rows[(rows.weights == kinds(rows)[0]) & (rows.method == method)]) for method in mine]}


def _numbers(values: Any) -> list[float | None]:
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, float)]


def _angles(rows: pd.DataFrame, mine: Sequence[str], methods: Sequence[str]) -> list[dict[str, Any]]:
    """An entry per relation: the band of chance and every method's angles, of single seeds and on average."""
    found = []
    for relation in RELATIONS:
        some = rows[rows.relation == relation]
        band = some.groupby("iteration").agg(low=("degrees_low", "min"), high=("degrees_high", "max")).dropna()
        lines = []
        for method in mine:
            known = some[some.method == method].dropna(subset="value")
            mean = known.groupby("iteration").degrees.mean()
            dots = zip(map(int, known.iteration), _numbers(known.degrees), map(int, known.seed), strict=True)
            lines.append({"look": methods.index(method), "x": [int(i) for i in mean.index], "y": _numbers(mean),
                          "dots": list(dots)})
        found.append({"x": [int(i) for i in band.index], "low": _numbers(band.low), "high": _numbers(band.high),
                      "lines": lines})
    return found


def _layers(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """An entry per relation: layers × iterations of the cosine and of the cosine over its deviation by chance."""
    layers = [layer for layer in dict.fromkeys(rows.layer) if layer != ALL] or [ALL]
    maps = []
    for relation in RELATIONS:
        iterations, scores, values = layer_map(rows[rows.relation == relation], layers)
        maps.append({"x": iterations, "y": layers, "z": [_numbers(line) for line in scores],
                     "cosines": [_numbers(line) for line in values]})
    return maps


def _bowl(paths: Sequence[Path], methods: Sequence[str]) -> dict[str, Any]:
    """Paths and losses in two dimensions, and the heights at which the bowl's contours are drawn."""
    corner = np.abs(np.concatenate([path.points for path in paths])).max(axis=0) + 0.25
    heights = np.linspace(0, 1, 12)[1:] ** 2 * (CURVATURES * corner**2).sum() / 2
    return {"curvatures": CURVATURES, "levels": _numbers(heights), "updates": UPDATES, "paths": [
        {"look": methods.index(path.method), "label": BOWL_LABELS[path.method], "loss": _numbers(path.losses),
         "x": _numbers(path.points[:, 0]), "y": _numbers(path.points[:, 1])} for path in paths]}
