"""``bench.md``: what was measured, in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.core import escape
from benchmark.reporting.plots import style
from benchmark.reporting.tables.formats import grid
from benchmark.studies.speed import analysis
from benchmark.studies.speed.analysis import Spread, label

AXIS_TITLES = {"width": "width [hidden size]", "depth": "depth [layers]", "rank": "LoRA rank",
               "batch": "batch [sequences]", "length": "completion length [tokens]"}
PARTS = {"generate": "generate", "reference": "reference", "score": "score", "critic": "critic", "forward": "forward",
         "train": "forward + backward", "optimizer": "optimiser", "other": "other"}


def number(value: float, digits: int = 3) -> str:
    """``digits`` significant digits, no exponent where it can be avoided."""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def ranged(value: Spread | None, scale: float = 1.0) -> str:
    """``0.41 [0.39–0.44]``; the median alone where nothing else can be seen."""
    if value is None:
        return "n/a"
    middle, low, high = (number(scale * v) for v in value)
    return middle if low == high else f"{middle} [{low}–{high}]"


def threads(bench: dict[str, Any]) -> str:
    count = bench["environment"]["threads"]
    return f"{count} thread{'s' if count > 1 else ''}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Markdown lines; the first ``left`` columns and the last of words are aligned to the left."""
    return [*grid(header, rows, [i for i, name in enumerate(header) if i < left or name == "explanation"]), ""]


def ratio_rows(bench: dict[str, Any]) -> list[list[str]]:
    rows = []
    for line in bench["ratios"]:
        scale, unit = (100.0, " %") if line["unit"] == "%" else (1.0, " ×" if line["unit"] == "×" else "")
        sign = "≥" if line["at_least"] else "≤"
        verdict = ("yes" if line["reached"] else "**no**") + ("" if line["clear"] else ", not in every round")
        rows.append([line["what"], ranged(line["value"], scale) + unit, f"{sign} {number(scale * line['limit'])}{unit}",
                     verdict])
    return rows


def method_rows(bench: dict[str, Any]) -> list[list[str]]:
    rows = []
    for entry in analysis.of(bench["figures"], "methods"):
        share, memory = analysis.spread(map(analysis.overhead, entry["repeats"])), entry["memory"]
        peaks = ["n/a", "n/a", "n/a"]
        if memory:
            system = memory["system"] and number(max(memory["system"][name] for name in ("rollout", "update")))
            peaks = [*(number(memory["tensors"][name]) for name in ("rollout", "update")), system or "n/a"]
        rows.append([label(entry), ranged(analysis.spread(analysis.seconds(entry))),
                     ranged(analysis.spread(analysis.per_second(entry))), ranged(share, 100), *peaks])
    return rows


def split_rows(bench: dict[str, Any]) -> list[list[str]]:
    """Milliseconds of every component."""
    rows = []
    for entry in analysis.of(bench["figures"], "methods"):
        parts = analysis.split(entry)
        cells = [number(1000 * parts[name]) if name in parts else "–" for name in (
            "generate", "reference", "score", "critic", "other_rollout", "forward", "backward", "optimizer",
            "other_update")]
        rows.append([label(entry), *cells])
    return rows


def bare_rows(bench: dict[str, Any], part: str) -> list[list[str]]:
    """Floors and peers: seconds, and for peers samples per second; peak memory of floors."""
    rows = []
    for entry in analysis.of(bench["figures"], part):
        cells = [label(entry), ranged(analysis.spread(analysis.seconds(entry)))]
        if part == "peers":
            cells.append(ranged(analysis.spread(analysis.per_second(entry))))
        else:
            cells.append(number(entry["memory"]["tensors"]["update"]) if entry["memory"] else "n/a")
        rows.append(cells)
    return rows


def cost_rows(bench: dict[str, Any]) -> list[list[str]]:
    rows = []
    for line in bench["costs"]:
        predicted, measured = line["predicted"], line["measured"]
        rows.append([line["what"], number(predicted["rollout"]), ranged(measured["rollout"]),
                     number(predicted["update"]), ranged(measured["update"]), number(sum(predicted.values())),
                     ranged(measured["seconds"]), f"{100 * line['difference']:+.0f} %",
                     "; ".join(f"{PARTS[name]} {number(a)} for {number(b)}" for name, a, b in line["why"]) or "–"])
    return rows


def sweep_tables(bench: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for axis, title in AXIS_TITLES.items():
        rows = [row for row in bench["sweeps"] if row["axis"] == axis and row["points"]]
        if not rows:
            continue
        values = sorted({point[0] for row in rows for point in row["points"]})
        everything = any(row["all"] for row in rows)
        header = [title, *map(str, values), *(["all parameters"] if everything else []), "slope", "slope, update alone"]
        body = []
        for row in rows:
            known = {point[0]: ranged(point[1]) for point in row["points"]}
            cells = [known.get(value, "n/a") for value in values]
            cells += [ranged(row["all"][1]) if row["all"] else "n/a"] if everything else []
            slopes = ["n/a" if row[name] is None else f"{row[name]:z.2f}" for name in ("slope", "update_slope")]
            body.append([style.label(row["name"]), *cells, *slopes])
        lines += table(header, body)
    return lines


def head(bench: dict[str, Any]) -> list[str]:
    """Hardware, versions and workload."""
    environment, config = bench["environment"], bench["config"]
    hardware, packages, model = environment["hardware"], environment["packages"], config["model"]
    machine = hardware["gpu"] or hardware["cpu"]
    trl = f", TRL {packages['trl']}" if "trl" in packages else ""
    longest = config["decoding"]["max_prompt_tokens"]
    return [
        f"{escape.markdown(machine)}, {threads(bench)} ({hardware['cores']} cores), torch "
        f"{packages['torch']}, transformers {packages['transformers']}, peft {packages['peft']}{trl}.", "",
        f"Random Llama, hidden size {model['hidden_size']}, {model['layers']} layers, vocabulary "
        f"{model['vocabulary']:,}, {model['dtype']}, LoRA r = {config['adapter']['rank']} on all linear layers. An "
        f"update learns from {config['loop']['sequences_per_update']} sequences: prompts of "
        f"{max(2, 2 * longest // 3)} to {longest} tokens, completions of exactly "
        f"{config['decoding']['max_new_tokens']}.", "",
        f"Every figure: {bench['repeats']} process{'es' if bench['repeats'] > 1 else ''} of its own, in turn with all "
        f"the others, {bench['warmup']} updates to warm up and {bench['timed']} timed in each. Median over the "
        f"processes' medians [lowest–highest]. Memory: one more process each.", "",
    ]


def to_markdown(bench: dict[str, Any]) -> str:
    """The page; ``bench`` as :func:`analysis.analysed` returns it."""
    lines = [f"# Speed and memory, size {bench['size']}", "", *head(bench)]
    for note in bench["notes"]:
        lines += [f"**{escape.markdown(note)}**", ""]
    if bench["ratios"]:
        lines += ["## Against targets", "", *table(["what", "measured", "target", "reached"], ratio_rows(bench))]
    if rows := method_rows(bench):
        header = ["method", "seconds per update", "samples per second", "overhead [%]", "peak, rollout [MiB]",
                  "peak, update [MiB]", "resident [MiB]"]
        lines += ["## Methods", "", "Overhead: share of an update outside generation, forward and backward passes and "
                  "the optimiser. Peaks are of tensors, above the loaded policy and reward model; resident is what the "
                  "process grew by at most.", "", *table(header, rows)]
        header = ["milliseconds", "generate", "reference", "score", "critic", "other", "forward", "backward",
                  "optimiser", "other"]
        lines += ["The same update split: the rollout from generate to the first other, then the update.", "",
                  *table(header, split_rows(bench))]
    if rows := bare_rows(bench, "peers"):
        lines += ["## Peers", "", *table(["TRL's trainer", "seconds per step", "samples per second"], rows)]
    if rows := bare_rows(bench, "floors"):
        lines += ["## Floors", "", *table(["bare call on the rows of one update", "seconds", "peak [MiB]"], rows)]
    if costs := cost_rows(bench):
        header = ["method", "rollout, booked", "rollout, measured", "update, booked", "update, measured", "all, booked",
                  "all, measured", "difference", "explanation"]
        lines += ["## Booked and measured cost", "", "Booked: forward tokens on the meter over tokens of the batch. "
                  "Measured: seconds over those of one bare forward.", "", *table(header, costs)]
        met = dict.fromkeys(name for line in bench["costs"] for name, *_ in line["why"])
        lines += [*(f"- {PARTS[name]}: {analysis.WHY[name]}." for name in met), ""]
    if sweeps := sweep_tables(bench):
        lines += ["## Sweeps", "", "Seconds per update; slope: exponent of the power law through the medians.", "",
                  *sweeps]
    failed = [[escape.markdown(key), escape.markdown(entry["failed"])] for key, entry in bench["figures"].items()
              if entry["failed"]]
    if failed:
        lines += ["## Not measured", "", *table(["figure", "reason"], failed, left=2)]
    return "\n".join(lines)
