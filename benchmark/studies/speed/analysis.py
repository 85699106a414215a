"""What follows from the figures: ratios against targets, predicted and measured cost, slopes of the sweeps.

Everything is computed from the content of ``bench.json`` alone. A ratio is taken within each round, between processes
that ran soon after each other, or within one process; the table shows the median over rounds and the extremes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import linear_regression, median
from typing import Any

from baselines.registry import METHODS
from benchmark.reporting.plots import style
from benchmark.reporting.tables.costs import NOTABLE
from benchmark.studies.speed.plan import ALL, NORM, PEERS, QUERIES, WARM_START

Figures = dict[str, dict[str, Any]]
Spread = list[float]  # middle, lowest, highest

FASTER_THAN_PEER, PPO_OF_RLOO, OVERHEAD = 2.0, 0.7, 0.03
ZEROTH_NORM, QUERIES_OF_ONE = 0.5, 5.0
ZEROTH_ADAPTER, ZEROTH_ALL, MEMORY_ALL, MEMORY_COPIES = 1.05, 1.15, 1.05, 3.0

WHY = {  # what a component costs beside tokens
    "generate": "one token at a time, bound by latency and memory traffic; the prompt is computed once for its k "
                "completions and booked k times",
    "reference": "a prompt that rows share is read once and booked for each of them; the adapter is off, logits become "
                 "log-probabilities",
    "score": "shared prompts as above; a scalar head instead of a vocabulary",
    "critic": "shared prompts as above; a scalar head instead of a vocabulary, all positions",
    "train": "shared prompts as above; booked as 2 + t whatever the shape: with few layers the vocabulary's logits and "
             "their gradient dominate",
    "forward": "shared prompts as above; logits become log-probabilities",
    "optimizer": "not booked",
    "other": "perturbation, step and batches are not booked",
}


def spread(values: Iterable[float]) -> Spread | None:
    """Median, lowest and highest; None of nothing."""
    values = list(values)
    return known_spread(values) if values else None


def known_spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return [median(values), min(values), max(values)]


def label(entry: dict[str, Any]) -> str:
    """What tables and charts call a figure."""
    if entry["part"] == "peers":
        return f"TRL {style.label(PEERS[entry['name']])}"
    if entry["part"] == "floors":
        words = {"generate": "generate", "forward": "forward", "forward-twice": "two forwards",
                 "forward-backward": "forward and backward"}[entry["name"]]
    else:
        words = style.label(entry["name"])
    return words + {ALL: ", all parameters", WARM_START: ", warm start", NORM: ", final norm",
                    QUERIES: ", final norm, 8 queries"}.get(entry["variant"], "")


def is_zeroth_order(entry: dict[str, Any]) -> bool:
    known = METHODS.get(entry["name"])
    return known is not None and known.zeroth_order and entry["variant"] != WARM_START


def usable(figures: Figures, key: str) -> dict[str, Any] | None:
    """The figure ``key`` if it was measured and did not fail."""
    entry = figures.get(key)
    return entry if entry and entry["repeats"] and not entry["failed"] else None


def of(figures: Figures, part: str) -> list[dict[str, Any]]:
    """The usable figures of a part."""
    return [entry for key, entry in figures.items() if entry["part"] == part and usable(figures, key)]


def bare_forward(figures: Figures, entry: dict[str, Any]) -> dict[str, Any] | None:
    """The floor ``forward`` with the same parameters trained as in ``entry``."""
    return usable(figures, f"floors/forward/{ALL}" if entry["variant"] == ALL else "floors/forward")


def seconds(entry: dict[str, Any], field: str = "seconds") -> list[float]:
    """``field`` of every round."""
    return [result[field] for result in entry["repeats"]]


def per_second(entry: dict[str, Any]) -> list[float]:
    """Sequences per second of every round."""
    return [entry["sequences"] / value for value in seconds(entry)]


def overhead(result: dict[str, Any]) -> float:
    """Share of an update outside generation, forward passes, backward passes and the optimiser."""
    return sum(value for name, value in result["parts"].items() if name.startswith("other")) / result["seconds"]


def middle_round(entry: dict[str, Any]) -> dict[str, Any]:
    """The round of median seconds, whole."""
    return sorted(entry["repeats"], key=lambda result: result["seconds"])[len(entry["repeats"]) // 2]


def split(entry: dict[str, Any]) -> dict[str, float]:
    """Seconds of every component: as in the middle round, in proportion to the median of all rounds."""
    chosen = middle_round(entry)
    scale = median(seconds(entry)) / chosen["seconds"]
    return {name: scale * value for name, value in chosen["parts"].items()}


def divided(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratios round by round."""
    return [a / b for a, b in zip(above, below, strict=False)]


def row(what: str, values: Iterable[float], limit: float, at_least: bool, unit: str = "×") -> dict[str, Any] | None:
    """A line of the ratio table; None without values. ``clear``: no round says otherwise than the median."""
    found = spread(values)
    if found is None:
        return None

    def good(value: float) -> bool:
        return value >= limit if at_least else value <= limit

    return {"what": what, "value": found, "limit": limit, "at_least": at_least, "unit": unit, "reached": good(found[0]),
            "clear": good(found[1]) == good(found[2])}


def ratios(figures: Figures) -> list[dict[str, Any]]:
    """Every target that the figures can be held against."""
    rows = []
    for peer, name in PEERS.items():
        ours, theirs = usable(figures, f"methods/{name}"), usable(figures, f"peers/{peer}")
        if ours and theirs:
            rows.append(row(f"{label(ours)}: samples per second, against TRL's",
                            divided(per_second(ours), per_second(theirs)), FASTER_THAN_PEER, True))
    ppo, rloo = usable(figures, "methods/ppo"), usable(figures, "methods/rloo")
    if ppo and rloo:
        rows.append(row("PPO: samples per second, against RLOO's", divided(per_second(ppo), per_second(rloo)),
                        PPO_OF_RLOO, True))
    methods = of(figures, "methods")
    for entry in methods:
        rows.append(row(f"{label(entry)}: overhead, share of an update", map(overhead, entry["repeats"]), OVERHEAD,
                        False, "%"))
    zeroth = [entry for entry in methods if is_zeroth_order(entry)]
    one, eight = (usable(figures, f"methods/mezo/{variant}") for variant in (NORM, QUERIES))
    if one and eight:
        rows.append(row("MeZO, final norm: update with 8 queries, against one",
                        divided(seconds(eight, "update_median"), seconds(one, "update_median")), QUERIES_OF_ONE, False))
    zeroth = [entry for entry in zeroth if entry["variant"] != QUERIES]
    for entry in zeroth:
        limit = {ALL: ZEROTH_ALL, NORM: ZEROTH_NORM}.get(entry["variant"], ZEROTH_ADAPTER)
        rows.append(row(f"{label(entry)}: update, against two bare forwards on the same rows",
                        divided(seconds(entry, "update_median"), seconds(entry, "floor")), limit, False))
    for entry in zeroth:
        if entry["variant"] != NORM:  # its copies are too small to measure
            rows.append(memory_row(entry))
    return [found for found in rows if found]


def memory_row(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Peak of tensors in a zeroth-order update against that of one bare forward on the same rows: as a ratio, weights
    included, where all parameters are trained; in copies of the adapter otherwise."""
    memory = entry["memory"]
    if not memory:
        return None
    peaks, weights = memory["tensors"], memory["policy"]
    if entry["variant"] == ALL:
        ratio = (weights + peaks["update"]) / (weights + peaks["inference"])
        return row(f"{label(entry)}: peak memory of an update, against inference", [ratio], MEMORY_ALL, False)
    copies = (peaks["update"] - peaks["inference"]) / memory["trained"]
    return row(f"{label(entry)}: peak memory of an update above inference, copies of the adapter", [copies],
               MEMORY_COPIES, False, "copies")


def merged_parts(values: dict[str, float], trained: bool) -> dict[str, float]:
    """The rest of both ledgers as one; where something is ``trained``, forward and backward of the update as one too (a
    backward is booked with its forward)."""
    found = {name: value for name, value in values.items() if not name.startswith("other") and name != "backward"}
    found["other"] = sum(value for name, value in values.items() if name.startswith("other"))
    if trained:
        found["train"] = found.pop("forward", 0.0) + values.get("backward", 0.0)
    return found


def explain(measured: dict[str, float], predicted: dict[str, float], total: float) -> list[list]:
    """The components that move the measured cost away from the predicted one, largest first: name, measured, predicted.

    Args:
        measured, predicted: forward passes by component.
        total: predicted passes of all.
    """
    gaps = {name: value - predicted.get(name, 0.0) for name, value in measured.items()}
    largest = sorted(gaps, key=lambda name: -abs(gaps[name]))[:2]
    return [[name, measured[name], predicted.get(name, 0.0)] for name in largest if abs(gaps[name]) >= 0.05 * total]


def costs(figures: Figures) -> list[dict[str, Any]]:
    """Predicted cost of every method (forward tokens that the meter books, over the tokens of the batch) beside the
    measured time, in units of one bare forward of the same round."""
    rows = []
    for entry in of(figures, "methods"):
        forward = bare_forward(figures, entry)
        if not forward:
            continue
        chosen = middle_round(entry)
        tokens = chosen["batch_tokens"]
        predicted = {name: chosen["tokens"][name] / tokens for name in ("rollout", "update")}
        unit = seconds(forward)
        measured = {name: known_spread(divided(seconds(entry, name), unit))
                    for name in ("rollout", "update", "seconds")}
        total, one = sum(predicted.values()), unit[min(entry["repeats"].index(chosen), len(unit) - 1)]
        far = abs(measured["seconds"][0] / total - 1) > NOTABLE
        trained = "backward" in chosen["parts"]
        parts = merged_parts({name: value / one for name, value in chosen["parts"].items()}, trained)
        booked = merged_parts({name: value / tokens for name, value in chosen["part_tokens"].items()}, trained)
        rows.append({"what": label(entry), "predicted": predicted, "measured": measured,
                     "difference": measured["seconds"][0] / total - 1,
                     "why": explain(parts, booked, total) if far else []})
    return rows


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Exponent of the power law through the points by least squares on logarithms; None for fewer than two."""
    if len(set(xs)) < 2:
        return None
    return linear_regression([math.log(x) for x in xs], [math.log(y) for y in ys]).slope


def sweeps(figures: Figures, axes: dict[str, list]) -> list[dict[str, Any]]:
    """A line for each axis and method: points (value, spread of seconds, spread of the update's seconds), the point
    with all parameters trained, and the slopes of the medians."""
    names = list(dict.fromkeys(entry["name"] for entry in of(figures, "sweeps")))
    rows = []
    for axis, points in axes.items():
        for name in names:
            found = [(value, usable(figures, f"sweeps/{point}/{name}")) for value, point in points]
            lines = [[value, spread(seconds(entry)), spread(seconds(entry, "update"))]
                     for value, entry in sorted(found, key=lambda item: item[0]) if entry]
            points_on_line = [line for line in lines if line[0]]

            def fitted(column: int, kept: list = points_on_line) -> float | None:
                return slope([line[0] for line in kept], [line[column][0] for line in kept])

            rows.append({"axis": axis, "name": name, "points": points_on_line,
                         "all": next((line for line in lines if not line[0]), None),
                         "slope": fitted(1), "update_slope": fitted(2)})
    return rows


def analysed(bench: dict[str, Any]) -> dict[str, Any]:
    """``bench`` with all that follows from its figures."""
    figures: Figures = bench["figures"]
    return {**bench, "ratios": ratios(figures), "costs": costs(figures), "sweeps": sweeps(figures, bench["axes"])}
