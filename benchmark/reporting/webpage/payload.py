"""What the page's scripts draw: looks, curves with intervals, scores and sample completions, as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from baselines.registry import find
from benchmark.core import escape
from benchmark.reporting.plots import families, style
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import number
from benchmark.reporting.tables.per_task import Table

POINTS = 65
SAMPLE_PROMPTS = 4
SAMPLE_CHARACTERS = 1500


class Axis(NamedTuple):
    """Words on the button and under the chart, unit, divisor of the stored amount, decimals of a reading."""

    button: str
    title: str
    unit: str
    divisor: float
    digits: int


AXES = {
    "forward_tokens": Axis("compute", "compute [million forward tokens]", "million forward tokens", 1e6, 3),
    "seconds": Axis("time", "optimisation time [s]", "s", 1.0, 1),
}
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


def methods(names: Sequence[str]) -> list[dict[str, Any]]:
    """Name, label, group and look of every method; the groups of a crowd are its families.

    ``beside`` names what is shown with its group, and ``on`` says which are drawn before anyone asks: main methods;
    where those are not several, the first family of a crowd, or all of a few.
    """
    looks, crowd = style.looks(names), len(names) > families.CROWD
    groups = {name: known.group if (known := find(name)) else "main" for name in names}
    first = [name for name in names if groups[name] == "main"]
    if len(first) < 2:
        first = next(iter(families.panels(names, names).values())) if crowd else list(names)
    titles = {name: families.family(name) if crowd else "methods" if groups[name] == "main" else f"{groups[name]}s"
              for name in names}
    return [{"name": name, "label": style.label(name), "group": titles[name], "on": name in first,
             "beside": families.references([name], names), **drawn(looks[name])} for name in names]


def drawn(look: style.Look) -> dict[str, Any]:
    """A look as the scripts draw it: dashes in pixels, the marker as a path."""
    shape, filled = marker(look.marker)
    dash = [] if look.line == "-" else [round(part * look.width, 2) for part in look.line[1]]
    return {"colour": look.colour, "width": look.width, "dash": dash, "marker": shape, "filled": filled}


def marker(name: str) -> tuple[str, bool]:
    """A matplotlib marker as SVG path data, one unit across with y downwards, and whether it is filled."""
    shape = MarkerStyle(name)
    parts = []
    for points, code in shape.get_path().transformed(shape.get_transform()).iter_segments():
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        else:
            pairs = points.reshape(-1, 2) * (1, -1)
            parts.append(_LETTERS[code] + " ".join(f"{round(v, 3) + 0.0:g}" for v in pairs.ravel()))
    return "".join(parts), shape.is_filled()


def counted(counts: Sequence[int]) -> str:
    """"n = 5", or "n = 2–5" where methods differ: what a chart says about the runs behind each of its marks."""
    return f"n = {min(counts)}" if min(counts) == max(counts) else f"n = {min(counts)}–{max(counts)}"


def page(results: Results, tables: Sequence[Table], looks: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything the scripts read; numbers carry six significant digits."""
    budget = results.runs[0].identity.budget.kind
    return {
        "methods": looks,
        "axes": [{"kind": kind, **axis._asdict()} for kind, axis in AXES.items()],
        "kind": budget if budget in AXES else "forward_tokens",
        "curves": {table.task: {k: _curves(results, table.task, k) for k in AXES} for table in tables},
        "levels": {table.task: _six(aggregate.reference_increase(results, table.task)) for table in tables},
        "scores": _scores(results, tables),
        "samples": {table.task: samples for table in tables if (samples := _samples(results, table.task))},
    }


def _curves(results: Results, task: str, kind: str) -> list[dict[str, Any]]:
    """Mean validation reward increase of each method with its interval, as arrays of at most ``POINTS`` values."""
    found = []
    for method in results.methods_of(task):
        curve = aggregate.curves(results, task, method, kind, POINTS)
        if curve.grid.size:
            found.append({
                "method": results.methods.index(method), "n": curve.n,
                "diverged": sum(run.diverged for run in results.of(task, method)),
                "x": _row(curve.grid / AXES[kind].divisor), "y": _row(curve.mean),
                "low": None if curve.low is None else _row(curve.low),
                "high": None if curve.high is None else _row(curve.high), "sampled": curve.sampled,
            })
    return found


def _scores(results: Results, tables: Sequence[Table]) -> dict[str, Any]:
    """The charts of the summary: normalised scores over all tasks where they exist, then each task by itself."""
    index = results.methods.index
    panels = []
    if found := aggregate.scores(results):
        rows = []
        for entry in (entry for entry in aggregate.aggregate(results) if entry.method in results.headline):
            dots = [value for values in found[entry.method].values() for value in values]
            rows.append(_score(index(entry.method), entry.score, entry.word, entry.n, dots))
        panels.append(_panel(results, "All tasks: interquartile mean", "test reward increase [sd of r₀]", rows))
    for table in tables:
        rows = []
        for row in table.rows:
            cell = row.cells["reward_increase"]
            estimate = None if cell.mean is None else aggregate.mean_estimate(cell.values)
            rows.append(_score(index(row.method), estimate, cell.word, len(row.seeds), cell.values))
        panels.append(_panel(results, f"{table.title}: mean", "test reward increase [r₀ score]", rows))
    return {
        "title": "Scores at the end of the budget",
        "note": "Large mark: the average named above the chart. Bar: its 95 % bootstrap interval over seeds"
                + (", stratified by task; in standard deviations of r₀ on π₀'s completions" if found else "")
                + ". Small dots: every run. Where any run diverged the row is a word: the others would flatter it.",
        "panels": panels,
    }


def _panel(results: Results, title: str, unit: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    found = {results.methods[row["method"]]: row for row in rows}
    order = families.ranked(list(found), {method: row["value"] for method, row in found.items()})
    return {"title": f"{title}, {counted([row['n'] for row in rows])}", "unit": unit,
            "rows": [found[method] for method in order if method]}


def _score(method: int, estimate: aggregate.Estimate | None, word: str, n: int,
           dots: Sequence[float | None]) -> dict[str, Any]:
    value, low, high = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
    return {"method": method, "value": _six(value), "low": _six(low), "high": _six(high), "word": word, "n": n,
            "dots": [] if word else [_six(dot) for dot in dots]}


def _samples(results: Results, task: str) -> list[dict[str, Any]]:
    """One entry a seed: the first prompts with reference, π₀ and every method that answered the same prompt."""
    seeds: dict[int, list[Any]] = {}
    for run in results.of(task):
        if run.samples:
            seeds.setdefault(run.seed, []).append(run)
    found = []
    for seed, runs in sorted(seeds.items()):
        prompts = []
        for sample in runs[0].samples[:SAMPLE_PROMPTS]:
            answers = [{"method": results.methods.index(run.method), "text": _text(own.completion),
                        "reward": _six(own.reward)} for run in runs if (own := run.answer(sample.prompt))]
            prompts.append({"prompt": _text(sample.prompt), "reference": _text(sample.reference),
                            "base": _text(sample.base), "reward": _six(sample.base_reward), "answers": answers})
        found.append({"seed": seed, "prompts": prompts})
    return found


def _text(value: str | None) -> str:
    text = escape.visible(value or "")
    return text if len(text) <= SAMPLE_CHARACTERS else text[:SAMPLE_CHARACTERS] + " […]"


def _six(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _row(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [_six(number(float(value))) for value in values]
