"""Every measure in words: what the paper reads off its pictures, what is seen here, and whether chance explains it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, chi2

from benchmark.core import escape
from benchmark.core.terminal import aligned
from benchmark.reporting.plots import style
from benchmark.reporting.plots.frame import minus
from benchmark.reporting.read.reader import FULL_PROTOCOL_SEEDS
from benchmark.reporting.tables.formats import grid
from benchmark.studies.interplay import measures
from benchmark.studies.interplay.analysis import ALL, CHANGE, COLUMNS, FACTORS, RELATIONS, Analysis
from benchmark.studies.interplay.nulls import COVERED

PAPER = {  # what ZOPrO's sampler takes for granted (Galatolo et al. 2025, arXiv 2503.03460)
    "same": "orthogonal",
    "next": "orthogonal: noise is kept off the reward model's last update",
    "policy": "alike: the previous update is a good guess of the next",
    "reward": "(not used)",
    "unpaired": "(not looked at)",
}
UNPAIRED = "policy and reward model, iterations that have nothing to do with each other"
COLUMN_WORDS = {"same": "policy–reward", "next": "reward–next policy", "policy": "policy–policy",
                "reward": "reward–reward"}
OTHERS = (  # measure, relation, words
    ("pearson", "same", "Pearson correlation of coordinates, same iteration"),
    ("pearson", "next", "Pearson correlation of coordinates, next iteration"),
    ("distance correlation", "same", "distance correlation² of coordinates, same iteration"),
    ("distance correlation", "next", "distance correlation² of coordinates, next iteration"),
    ("distance correlation", "trajectories", "distance correlation² of the two trajectories"),
    ("Procrustes disparity", "trajectories", "Procrustes disparity of the two trajectories"),
    ("directions", "policy", "directions in which all policy updates go"),
    ("directions", "reward", "directions in which all reward-model updates go"),
    ("participation ratio", "policy", "singular directions of a policy update ΔW"),
    ("participation ratio", "reward", "singular directions of a reward-model update ΔW"),
)
NEAR = 10  # degrees from 90 that still look orthogonal in a picture
HEADER = ("method", "between", "the paper", "angle of ΔW", "chance, 95 %", "one gradient for both", "angle of tensors",
          "chance, 95 %", "in words")
OTHER_HEADER = ("method", "measure", "measured on", "mean", "chance, 95 %", "outside chance", "in words")
NOTE = (
    "Angles: mean over seeds and iterations (smallest to largest). Chance: independent random updates with the shapes "
    "and norms of these, the widest of all. One gradient for both: the angle of ΔW to expect if policy and reward "
    "model had followed the same gradient of the full weights, each through its own LoRA factors. ΔW = s(B₁A₁ − B₀A₀) "
    "is the weight change, which does not depend on how it is factored; tensors are what is trained as it is (the "
    "factors, whose coordinates policy and reward model do not share). In words: of ΔW where there is one; chance "
    "explains what lies as far from its mean as random updates do in more than 1 case of 100 (χ² test over all "
    "points), and standard deviations are chance's."
)


def outside(rows: pd.DataFrame) -> tuple[int, int]:
    """How many of ``rows`` lie outside the central 95 % of chance, and how many have a value at all."""
    known = rows.dropna(subset=["value", "null_low", "null_high"])
    return int(((known.value < known.null_low) | (known.value > known.null_high)).sum()), len(known)


def scores(rows: pd.DataFrame) -> np.ndarray:
    """How many standard deviations of chance each of ``rows`` lies from chance's mean (1.96 = end of its 95 %)."""
    known = rows.dropna(subset=["value", "null_low", "null_high"])
    reach = ((known.null_high - known.null_low) / (2 * COVERED)).clip(lower=1e-12)
    return ((known.value - known.null_mean) / reach).to_numpy(float)


def beyond_chance(rows: pd.DataFrame) -> bool:
    """Whether chance gives scores as large as these, taken together, in less than 1 case of 100 (χ² test)."""
    found = scores(rows)
    return len(found) > 0 and bool(chi2.sf((found**2).sum(), len(found)) < 0.01)


def often_outside(rows: pd.DataFrame) -> bool:
    """Whether so many of ``rows`` lie outside 95 % of chance that chance leaves as many in at most 1 case of 20: for
    measures whose null is not normal."""
    count, known = outside(rows)
    return known > 0 and bool(binom.sf(count - 1, known, 0.05) < 0.0501)


def verdict(rows: pd.DataFrame) -> str:
    """Of cosines: whether chance explains them, and if not, in which direction and how far."""
    found = scores(rows)
    if not len(found):
        return "one of the two did not move"
    near = bool((rows.degrees.dropna() - 90).abs().max() < NEAR)
    if not beyond_chance(rows):
        return "orthogonal, as random updates are: chance explains it" if near else "chance explains it"
    mean = found.mean()
    both = abs(mean) * np.sqrt(len(found)) < COVERED
    way = "further from 90° than chance, both ways" if both else f"{'alike' if mean > 0 else 'opposed'} beyond chance"
    size = f"{np.sqrt((found**2).mean()):,.1f} standard deviations"
    return f"near 90°, yet {way} ({size})" if near else f"{way} ({size})"


def summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One line a task, method, relation and what was measured on: angles, chance, and the verdict; means over seeds and
    iterations."""
    cosines = rows[(rows.measure == "cosine") & (rows.layer == ALL)]
    lines = []
    for (task, method, relation, kind), some in cosines.groupby(["task", "method", "relation", "weights"], sort=False):
        known = some.dropna(subset="value")
        if relation not in PAPER:
            continue
        count, total = outside(some)
        lines.append({
            "task": task, "method": method, "relation": relation, "weights": kind, "paper": PAPER[relation],
            "degrees": known.degrees.mean() if len(known) else None,
            "degrees_min": known.degrees.min() if len(known) else None,
            "degrees_max": known.degrees.max() if len(known) else None,
            "chance_low": some.degrees_low.min(), "chance_high": some.degrees_high.max(),
            "shared_gradient_degrees": (float(measures.degrees(some.shared_gradient.mean()))
                                        if some.shared_gradient.notna().any() else None),
            "outside": count, "points": total, "beyond": beyond_chance(some), "verdict": verdict(some)})
    order = {name: i for i, name in enumerate([*RELATIONS, "unpaired"])}
    tasks, methods = (list(dict.fromkeys(rows[key])) for key in ("task", "method"))
    return sorted(lines, key=lambda line: (tasks.index(line["task"]), methods.index(line["method"]),
                                           order[line["relation"]], line["weights"] != CHANGE))


def others(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The same for the measures that are no angles: mean value and mean ends of what chance gives."""
    lines = []
    rows = rows[rows.layer == ALL]
    for (task, method), mine in rows.groupby(["task", "method"], sort=False):
        for measure, relation, words in OTHERS:
            for kind, some in mine[(mine.measure == measure) & (mine.relation == relation)].groupby("weights"):
                known = some.dropna(subset="value")
                if not len(known):
                    continue
                count, total = outside(some)
                lines.append({
                    "task": task, "method": method, "measure": measure, "relation": relation, "words": words,
                    "weights": kind, "value": known.value.mean(), "chance_low": known.null_low.mean(),
                    "chance_high": known.null_high.mean(), "outside": count, "points": total,
                    "verdict": _compared(known)})
    return lines


def _compared(rows: pd.DataFrame) -> str:
    if not often_outside(rows):
        return "chance explains it"
    return "more than chance" if (rows.value - rows.null_mean).mean() > 0 else "less than chance"


def angle(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.2f}°"


def cells(lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Lines of :func:`summary` as text, in the order of ``HEADER``; what was measured on ΔW and on the tensors stands
    in one row."""
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        rows.setdefault((line["method"], line["relation"]), {})[line["weights"]] = line
    found = []
    for (method, relation), kinds in rows.items():
        change, tensors = kinds.get(CHANGE), kinds[FACTORS]
        found.append([
            style.label(method), RELATIONS.get(relation, UNPAIRED), PAPER[relation], _spread(change), _chance(change),
            angle(change["shared_gradient_degrees"]) if change else "–", _spread(tensors), _chance(tensors),
            (change or tensors)["verdict"]])
    return found


def _spread(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return "–"
    ends = f" ({angle(line['degrees_min'])} to {angle(line['degrees_max'])})" if line["points"] > 1 else ""
    return angle(line["degrees"]) + ends


def _chance(line: Mapping[str, Any] | None) -> str:
    return "–" if line is None else f"{angle(line['chance_low'])} to {angle(line['chance_high'])}"


def other_cells(line: Mapping[str, Any]) -> list[str]:
    digits = 2 if abs(line["value"]) >= 0.1 else 4
    return [style.label(line["method"]), line["words"], line["weights"], minus(line["value"], digits),
            f"{minus(line['chance_low'], digits)} to {minus(line['chance_high'], digits)}",
            f"{line['outside']} of {line['points']}", line["verdict"]]


def markdown(rows: pd.DataFrame, analyses: Sequence[Analysis], titles: Mapping[str, str], layer: str | None) -> str:
    """The summary as a page of tables, one block a task."""
    lines = ["# Policy–reward interplay", "", *_facts(analyses, layer), ""]
    angles_, rest = summary(rows), others(rows)
    for task in dict.fromkeys(rows.task):
        lines += [f"## {escape.markdown(titles.get(task, task))}", "", *_table(
            HEADER, cells([line for line in angles_ if line["task"] == task])), ""]
        lines += _table(OTHER_HEADER, [other_cells(line) for line in rest if line["task"] == task])
        lines += [""]
    return "\n".join([*lines, NOTE, ""])


def terminal(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """The angles as plain text, a line a method; ``*`` marks what chance does not explain."""
    lines = summary(rows)
    text = []
    for task in dict.fromkeys(rows.task):
        table = [["", *COLUMN_WORDS.values()]]
        for method in dict.fromkeys(rows[rows.task == task].method):
            for kind in (CHANGE, FACTORS):
                mine = {line["relation"]: line for line in lines
                        if (line["task"], line["method"], line["weights"]) == (task, method, kind)}
                if mine:
                    table.append([f"{style.label(method)}, {kind}", *(
                        angle(mine[r]["degrees"]) + ("*" if mine[r]["beyond"] else " ") if r in mine else "–"
                        for r in COLUMN_WORDS)])
        text += ["", f"{titles.get(task, task)}: mean angle, * = not explained by chance", *aligned(table)]
    return "\n".join([*text, ""])


def reduced(analyses: Sequence[Analysis]) -> str:
    """The words that a table or figure of too few seeds must carry; empty when every method has enough."""
    n = min(Counter((a.run.task, a.run.method) for a in analyses).values())
    return "" if n >= FULL_PROTOCOL_SEEDS else f"reduced protocol ({n} seed{'s' if n > 1 else ''}), not comparable"


def unmeasured(analyses: Sequence[Analysis]) -> str:
    """The sentence for runs that have no weight change; empty when every run has one."""
    lacking = sum(CHANGE not in a.pictures for a in analyses)
    which = "These runs" if lacking == len(analyses) else f"{lacking} of these {len(analyses)} runs"
    return f"{which} trained no LoRA factors: they have no ΔW, and their tensors alone are measured." if lacking else ""


def _facts(analyses: Sequence[Analysis], layer: str | None) -> list[str]:
    sizes = sorted({f"{a.parameters:,} numbers in {a.iterations} iterations" for a in analyses})
    where = "all layers" if layer is None else f"layer {layer} only"
    found = [f"{len(analyses)} runs, {where}; compared: {'; '.join(sizes)}."]
    if few := reduced(analyses):
        found.append(f"{few[0].upper()}{few[1:]}: the protocol asks for at least {FULL_PROTOCOL_SEEDS} seeds.")
    found += filter(None, [unmeasured(analyses)])
    errors = [a.error for a in analyses if a.error is not None]
    if errors:
        found.append(f"Trajectories of the weight change come from random projections; their cosines are off by at "
                     f"most {max(errors):.3f} where the exact ones are known. All angles below are exact.")
    return found


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return grid(header, [[*map(escape.markdown, row)] for row in rows], range(len(header)))


def csv(rows: pd.DataFrame, layer: str | None) -> str:
    """Every measure, one line each; with ``layer`` the sum over layers is named after it."""
    if layer is not None:
        rows = rows.assign(layer=rows.layer.replace(ALL, layer))
    return rows[list(COLUMNS)].to_csv(index=False, float_format="%.8g", lineterminator="\n")


def to_json(rows: pd.DataFrame, analyses: Sequence[Analysis], layer: str | None) -> str:
    """The same with the summary, and what each run is."""
    runs = [{"run": a.run.name, "profile": a.run.config.profile, "parameters": a.parameters,
             "iterations": a.iterations, "layers": a.layers, "projection_error": a.error} for a in analyses]
    kept = rows.astype(object).where(rows.notna(), None).to_dict("records")
    value = {"layer": layer or ALL, "runs": runs, "summary": summary(rows), "others": others(rows), "measures": kept}
    return json.dumps(_plain(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """``value`` for JSON: eight digits, and None for what is not a number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.8g}") if np.isfinite(value) else None
