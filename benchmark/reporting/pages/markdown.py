"""``report.md``: the summary, then tables and plots of each task, all sheets, samples, provenance, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.core import escape
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import Run, number
from benchmark.reporting.tables import formats
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet

SAMPLE_PROMPTS = 3
SAMPLE_CHARACTERS = 600
# Figures by the beginning of their file name, in the order of the page.
OF_ALL = {
    "overview": "Overview of all tasks",
    "scores": "Normalised scores over all tasks",
    "profile": "Share of runs above a normalised score",
}
OF_A_TASK = {
    "reward_vs_time": "Reward against optimisation time",
    "reward_vs_compute": "Reward against compute",
    "reward_vs_kl": "Reward against KL, the price paid",
    "gold_vs_reward": "What the judge says against the reward that is optimised",
}


def render(results: Results, tables: Sequence[Table], sheets: Sequence[Sheet], figures: Sequence[str]) -> str:
    """The page as Markdown; plots are linked by file name, so that the folder can be moved.

    Args:
        sheets: tables over all tasks; the first one is the summary.
        figures: file names of the plots; those ending in ``.png`` are shown.
    """
    lines = ["# Reward under one budget: results", ""]
    if words := results.reduced():
        lines += [f"**{words[0].upper()}{words[1:]}.**", ""]
    lines += [
        "Every method of a task starts from the same policy π₀ and reward model r₀, sees the same prompts in the "
        "same order, and stops at the same budget. Reward is the score of the frozen r₀. The same results with curves "
        "to hover over and tables to sort: [index.html](index.html).",
        "",
        *_table(sheets[0], sheets[0].key),
    ]
    for name, words in OF_ALL.items():
        lines += _figure(f"{name}.png", words, figures)
    lines += _what_was_run(results)
    for table in tables:
        lines += _table(table, table.task)
        for name, words in OF_A_TASK.items():
            title = f"{words}: {escape.markdown(table.title)}"
            lines += _figure(f"{name}_{table.task}.png", title, figures)
            lines += _figure(f"{name}_ablation_{table.task}.png", f"{title}, ZOPrO and its controls", figures)
    for sheet in sheets[1:]:
        lines += _table(sheet, sheet.key)
    for table in tables:
        lines += _samples(results, table.task)
    lines += _provenance(results)
    lines += _missing(results)
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(shown: Table | Sheet, key: str) -> list[str]:
    return [formats.to_markdown(shown), f"The same table: [CSV](table_{key}.csv), [LaTeX](table_{key}.tex).", ""]


def _figure(name: str, words: str, figures: Sequence[str]) -> list[str]:
    """Lines that show figure ``name`` if it was drawn."""
    return [f"![{words}]({name})", ""] if name in figures else []


def _what_was_run(results: Results) -> list[str]:
    methods = ", ".join(escape.markdown(style.label(m)) for m in results.methods)
    lines = ["## What was run", "", f"- Methods: {methods}"]
    for task in results.tasks:
        seeds = ", ".join(str(s) for s in sorted({r.seed for r in results.of(task)}))
        lines.append(
            f"- {escape.markdown(results.title(task))}: profile {escape.markdown(results.profile(task))}, "
            f"budget {escape.markdown(results.budget(task))} a run, seeds {seeds}, "
            f"data {escape.markdown(results.data(task))}{_preparation(results, task)}"
        )
    lines.append(f"- {results.counts()}")
    lines += [f"- {escape.markdown(note)}" for note in results.cautions()]
    return [*lines, ""]


def _preparation(results: Results, task: str) -> str:
    """What the shared start is worth: accuracy of r₀ on held-out pairs (one figure per seed), and who judges."""
    found = {r.seed: r.environment["preparation"] for r in results.of(task) if r.environment.get("preparation")}
    if not found:
        return ""
    accuracies = ", ".join(f"{found[seed]['reward_accuracy']:.2f}" for seed in sorted(found))
    first = next(iter(found.values()))
    prompts = (results.of(task)[0].environment.get("data") or {}).get("prompts") or {}
    counts = "".join(f", {prompts[split]:,} {split}" for split in ("train", "validation", "test")
                     if prompts.get(split) is not None)
    return (
        f"{'; distinct prompts:' + counts[1:] if counts else ''}"
        f"; r₀ ranks held-out pairs as labelled with accuracy {accuracies} ({first['held_out_pairs']} pairs), "
        f"judge: {escape.markdown(str(first['judge']['kind']).replace('_', ' '))}"
    )


def _samples(results: Results, task: str) -> list[str]:
    """Completions of every method for the first prompts of one seed, side by side, as literal text."""
    by_seed: dict[int, list[Run]] = {}
    for run in results.of(task):
        if run.samples:
            by_seed.setdefault(run.seed, []).append(run)
    if not by_seed:
        return []
    seed, runs = max(by_seed.items(), key=lambda item: (len(item[1]), -item[0]))
    lines = [f"## Sample completions: {escape.markdown(results.title(task))} (test prompts, seed {seed})", ""]
    for sample in runs[0].samples[:SAMPLE_PROMPTS]:
        prompt = sample.get("prompt")
        lines += ["| | text | reward [r₀ score] |", "|:---|:---|---:|", _line("prompt", prompt, None, bold=True)]
        lines.append(_line("reference", sample.get("reference"), None))
        lines.append(_line("π₀", sample.get("base"), sample.get("base_reward")))
        for run in runs:
            own = next((s for s in run.samples if s.get("prompt") == prompt), None)
            if own is not None:
                lines.append(_line(style.label(run.method), own.get("completion"), own.get("reward")))
        lines.append("")
    return lines


def _line(who: str, text: Any, reward: Any, bold: bool = False) -> str:
    shown = "" if text is None else escape.markdown(str(text), SAMPLE_CHARACTERS)
    name = f"**{escape.markdown(who)}**" if bold else escape.markdown(who)
    value = number(reward)
    return f"| {name} | {shown or '(empty)'} | {'' if value is None else f'{value:+.3f}'} |"


def _missing(results: Results) -> list[str]:
    missing = results.missing()
    lines = ["## What is missing", ""]
    if not missing and not results.ignored:
        return [*lines, "Nothing: every method of this folder has every seed on every task.", ""]
    lines += [f"- {escape.markdown(cell)}: no finished run" for cell in missing]
    for run in results.ignored:
        message = f": {escape.markdown(run.message, 300)}" if run.message else ""
        lines.append(f"- ignored {escape.markdown(run.name)} ({run.reason}){message}")
    diverged = [r.name for r in results.runs if r.diverged]
    lines += [f"- diverged {escape.markdown(name)}: its outcome is the word, not a number" for name in diverged]
    return [*lines, ""]


def _provenance(results: Results) -> list[str]:
    packages: dict[str, set[str]] = {}
    for run in results.runs:
        versions = {"python": run.environment.get("python"), **(run.environment.get("packages") or {})}
        for name, version in versions.items():
            packages.setdefault(str(name), set()).add(str(version))
    listed = ", ".join(f"{n} {'/'.join(sorted(v))}" for n, v in sorted(packages.items()))

    def each(name: str) -> str:
        return escape.markdown(", ".join(sorted({str(r.environment.get(name, "unknown")) for r in results.runs})))

    return [
        "## Provenance",
        "",
        f"- Protocol: {escape.markdown(str(results.runs[0].identity.get('protocol')))}",
        f"- Commit: {escape.markdown(', '.join(results.commits()))}",
        *[f"- Hardware: {escape.markdown(h)}" for h in results.hardware()],
        f"- Device: {each('device')}",
        f"- Threads: {each('threads')}; runs at the same time: {each('workers')}",
        f"- Packages: {escape.markdown(listed)}",
        "",
        "Run directories used:",
        "",
        *[f"- {escape.markdown(r.name)}" for task in results.tasks for r in results.of(task)],
        "",
    ]
