"""``report.md``: the summary, then tables and plots of each task, all sheets, samples, provenance, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core import escape
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun
from benchmark.reporting.tables import formats
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet
from benchmark.reporting.webpage import facts

SAMPLE_PROMPTS = 3
SAMPLE_CHARACTERS, LINE_CHARACTERS = 600, 400
# Figures by the beginning of their file name, in the order of the page.
OF_ALL = {
    "overview": "Overview of all tasks",
    "frontier": "Reward and the judge's view of it against KL",
    "scores": "Normalised scores over all tasks",
    "profile": "Share of runs above a normalised score",
}
OF_A_TASK = {
    "reward_vs_time": "Reward against optimisation time",
    "reward_vs_compute": "Reward against compute",
    "reward_vs_kl": "Reward against KL, the price paid",
    "gold_vs_kl": "What the judge says against KL",
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
    lines += what_was_run(results)
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


def what_was_run(results: Results) -> list[str]:
    methods = ", ".join(escape.markdown(style.label(m)) for m in results.methods)
    lines = ["## What was run", "", f"- Methods: {methods}"]
    for task in results.tasks:
        seeds = ", ".join(str(s) for s in sorted({r.seed for r in results.of(task)}))
        said = facts.prompts(results.of(task)), facts.start(results.starts(task))
        known = "".join(f"; {escape.markdown(words)}" for words in said if words)
        lines.append(
            f"- {escape.markdown(results.title(task))}: profile {escape.markdown(results.profile(task))}, "
            f"budget {escape.markdown(results.budget(task))} a run, seeds {seeds}, "
            f"data {escape.markdown(results.data(task))}{known}"
        )
    lines.append(f"- {results.counts()}")
    lines += [f"- {escape.markdown(note)}" for note in results.cautions()]
    return [*lines, ""]


def _samples(results: Results, task: str) -> list[str]:
    """Completions of every method for the first prompts of one seed, side by side, as literal text."""
    by_seed: dict[int, list[FinishedRun]] = {}
    for run in results.of(task):
        if run.samples:
            by_seed.setdefault(run.seed, []).append(run)
    if not by_seed:
        return []
    seed, runs = max(by_seed.items(), key=lambda item: (len(item[1]), -item[0]))
    lines = [f"## Sample completions: {escape.markdown(results.title(task))} (test prompts, seed {seed})", ""]
    for sample in runs[0].samples[:SAMPLE_PROMPTS]:
        lines += ["| | text | reward [r₀ score] |", "|:---|:---|---:|", _line("prompt", sample.prompt, None, bold=True)]
        lines += [_line("reference", sample.reference, None), _line("π₀", sample.base, sample.base_reward)]
        lines += [_line(style.label(run.method), own.completion, own.reward) for run in runs
                  if (own := run.answer(sample.prompt))]
        lines.append("")
    return lines


def _line(who: str, text: str | None, reward: float | None, bold: bool = False) -> str:
    shown = escape.markdown(text or "", SAMPLE_CHARACTERS)
    name = f"**{escape.markdown(who)}**" if bold else escape.markdown(who)
    return f"| {name} | {shown or '(empty)'} | {'' if reward is None else f'{reward:+.3f}'} |"


def _missing(results: Results) -> list[str]:
    if not results.missing() and not results.ignored:
        return ["## What is missing", "", "Nothing: every method of this folder has every seed on every task.", ""]
    return ["## What is missing", "", *(f"- {escape.markdown(line, LINE_CHARACTERS)}" for line in results.gaps()), ""]


def _provenance(results: Results) -> list[str]:
    lines = []
    for title, found in facts.origin(results):
        if title == "Hardware":
            lines += [f"- {title}: {escape.markdown(each)}" for each in found]
        elif title != "Platform":
            lines.append(f"- {title}: {escape.markdown(', '.join(found))}")
    runs = [f"- {escape.markdown(r.name)}" for task in results.tasks for r in results.of(task)]
    return ["## Provenance", "", *lines, "", "Run directories used:", "", *runs, ""]
