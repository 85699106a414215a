"""What the pages say in words: what was compared and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core.records import SharedStart
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

Facts = list[tuple[str, list[str]]]


def summary(results: Results) -> dict[str, object]:
    """The headline: ``banner`` (empty with enough seeds), ``sentence``, ``tiles`` (figure, words) and ``cautions``."""
    budgets = list(dict.fromkeys(f"{results.budget(task)} a run" for task in results.tasks))
    fewest, most = min(map(results.seeds, results.tasks)), max(map(results.seeds, results.tasks))
    reduced = results.reduced()
    return {
        "banner": f"{reduced[0].upper()}{reduced[1:]}." if reduced else "",
        "methods": ", ".join(map(style.label, results.methods)),
        "tasks": ", ".join(map(results.title, results.tasks)),
        "tiles": [
            (str(len(results.methods)), _plural(len(results.methods), "method")),
            (str(len(results.tasks)), _plural(len(results.tasks), "task")),
            (str(most) if fewest == most else f"{fewest}–{most}", f"{_plural(most, 'seed')} a method and task"),
            (str(len(results.runs)), _plural(len(results.runs), "finished run")),
        ],
        "budget": "; ".join(budgets),
        "profiles": ", ".join(sorted({results.profile(task) for task in results.tasks})),
        "cautions": results.cautions(),
    }


def provenance(results: Results) -> Facts:
    """Title and lines of each fact, in the order of the page."""
    return origin(results) + [(results.title(task), _task(results, task)) for task in results.tasks]


def origin(results: Results) -> Facts:
    """Those of code and machine."""
    each = results.values
    return [
        ("Protocol", [str(results.runs[0].identity.protocol)]),
        ("Commit", results.commits()),
        ("Hardware", each("hardware")),
        ("Platform", each("platform")),
        ("Device", each("device")),
        ("Threads", [f"{', '.join(each('threads'))}; runs at the same time: {', '.join(each('workers'))}"]),
        ("Packages", [results.packages()]),
    ]


def _task(results: Results, task: str) -> list[str]:
    """Data, model and the shared start of ``task``."""
    runs = results.of(task)
    model = runs[0].environment.model
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"profile {results.profile(task)}, budget {results.budget(task)} a run, "
        f"{_plural(len(seeds), 'seed')} {', '.join(map(str, seeds))}",
        f"data: {results.data(task)}", prompts(runs),
    ]
    if model.parameters:
        named = (model.path or "built from the configuration") + (f", revision {model.revision}" * bool(model.revision))
        lines.append(f"model: {named}, {model.parameters:,} parameters")
    return [line for line in (*lines, start(results.starts(task))) if line]


def prompts(runs: Sequence[FinishedRun]) -> str:
    """How many distinct prompts each split of a task has; empty where that was not recorded."""
    counts = runs[0].environment.data.prompts
    known = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count is not None)
    return f"distinct prompts: {known}" if known else ""


def start(starts: Sequence[SharedStart]) -> str:
    """What the shared starts are worth: accuracy of r₀ on held-out pairs (one figure a seed), and who
    judges; empty without any."""
    if not starts:
        return ""
    accuracies = ", ".join(f"{start.reward_accuracy:.2f}" for start in starts)
    return (f"r₀ ranks held-out pairs as labelled with accuracy {accuracies} ({starts[0].held_out_pairs} pairs), "
            f"judge: {starts[0].judge.kind.replace('_', ' ')}")


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
