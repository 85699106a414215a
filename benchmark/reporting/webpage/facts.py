"""What the pages say in words: what was compared, where it comes from, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import Run

Facts = list[tuple[str, list[str]]]
MESSAGE = 300  # characters of a failed run's message that are shown


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
    packages: dict[str, set[str]] = {}
    for run in results.runs:
        versions = {"python": run.environment.get("python"), **(run.environment.get("packages") or {})}
        for name, version in versions.items():
            packages.setdefault(str(name), set()).add(str(version))

    def each(name: str) -> list[str]:
        return sorted({str(run.environment.get(name) or "unknown") for run in results.runs})

    return [
        ("Protocol", [str(results.runs[0].identity.get("protocol"))]),
        ("Commit", results.commits()),
        ("Hardware", results.hardware()),
        ("Platform", each("platform")),
        ("Device", each("device")),
        ("Threads", [f"{', '.join(each('threads'))}; runs at the same time: {', '.join(each('workers'))}"]),
        ("Packages", [", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in sorted(packages.items()))]),
    ]


def _task(results: Results, task: str) -> list[str]:
    """Data, model and the shared start of ``task``."""
    runs = results.of(task)
    model = runs[0].environment.get("model") or {}
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"profile {results.profile(task)}, budget {results.budget(task)} a run, "
        f"{_plural(len(seeds), 'seed')} {', '.join(map(str, seeds))}",
        f"data: {results.data(task)}", prompts(runs),
    ]
    if model.get("parameters"):
        named = model.get("path") or "built from the configuration"
        revision = f", revision {model['revision']}" if model.get("revision") else ""
        lines.append(f"model: {named}{revision}, {model['parameters']:,} parameters")
    return [line for line in (*lines, start(runs)) if line]


def prompts(runs: Sequence[Run]) -> str:
    """How many distinct prompts each split of a task has; empty where that was not recorded."""
    counts = (runs[0].environment.get("data") or {}).get("prompts") or {}
    known = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count is not None)
    return f"distinct prompts: {known}" if known else ""


def start(runs: Sequence[Run]) -> str:
    """What the shared start is worth: accuracy of r₀ on held-out pairs (one figure a seed), and who judges."""
    found = {run.seed: run.environment["preparation"] for run in runs if run.environment.get("preparation")}
    if not found:
        return ""
    accuracies = ", ".join(f"{found[seed]['reward_accuracy']:.2f}" for seed in sorted(found))
    first = next(iter(found.values()))
    return (f"r₀ ranks held-out pairs as labelled with accuracy {accuracies} ({first['held_out_pairs']} pairs), "
            f"judge: {str(first['judge']['kind']).replace('_', ' ')}")


def missing(results: Results) -> list[str]:
    """One line a cell without a finished run, a run left out, and a diverged run; empty when nothing is missing."""
    lines = [f"{cell}: no finished run" for cell in results.missing()]
    for run in results.ignored:
        message = run.message if len(run.message) <= MESSAGE else f"{run.message[:MESSAGE].rstrip()}…"
        lines.append(f"ignored {run.name} ({run.reason})" + (f": {message}" if message else ""))
    lines += [f"diverged {run.name}: its outcome is the word, not a number" for run in results.runs if run.diverged]
    return lines


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
