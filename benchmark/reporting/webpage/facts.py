"""What the page says in words: what was compared and where it comes from."""

from __future__ import annotations

from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results

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
    each = results.values
    facts = [
        ("Protocol", [str(results.runs[0].identity.protocol)]),
        ("Commit", results.commits()),
        ("Hardware", each("hardware")),
        ("Platform", each("platform")),
        ("Device", each("device")),
        ("Threads", [f"{', '.join(each('threads'))} a run; runs at the same time: {', '.join(each('workers'))}"]),
        ("Packages", [results.packages()]),
    ]
    return facts + [(results.title(task), _task(results, task)) for task in results.tasks]


def _task(results: Results, task: str) -> list[str]:
    """Data, model and the shared start of ``task``."""
    runs = results.of(task)
    data, model = runs[0].environment.data, runs[0].environment.model
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"profile {results.profile(task)}, budget {results.budget(task)} a run, "
        f"{_plural(len(seeds), 'seed')} {', '.join(map(str, seeds))}",
        f"data: {results.data(task)}",
    ]
    if data.prompts:
        lines.append("distinct prompts: " + ", ".join(f"{count:,} {split}" for split, count in data.prompts.items()
                                                     if count is not None))
    if model.parameters:
        named = (model.path or "built from the configuration") + (f", revision {model.revision}" * bool(model.revision))
        lines.append(f"model: {named}, {model.parameters:,} parameters")
    if starts := results.starts(task):
        accuracies = ", ".join(f"{start.reward_accuracy:.2f}" for start in starts)
        lines.append(f"r₀ ranks held-out pairs as labelled with accuracy {accuracies} (one figure a seed, "
                     f"{starts[0].held_out_pairs} pairs); judge: {starts[0].judge.kind.replace('_', ' ')}")
    return lines


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
