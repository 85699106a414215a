"""What a search found, for a reader: published against tuned as a table, and every trial in a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.core.files import write_text
from benchmark.reporting.plots import frame, style
from benchmark.reporting.read.reader import FULL_PROTOCOL_SEEDS
from benchmark.reporting.tables import formats
from benchmark.reporting.tables.sheets import Sheet, decimal
from benchmark.studies.tuning.outcome import Outcome
from benchmark.studies.tuning.scores import RULE
from benchmark.studies.tuning.stages import WARM_START

KEY = "published_vs_tuned"
EDGE = -1.0  # lower end of the figure's axis: what is further down is drawn there
CROWDED = 8  # more columns than that have their names upright
DOT, RING, STAR, RING_OF_STAR = 60, 170, 260, 520  # marker areas [points²]


def published_vs_tuned(outcome: Outcome, titles: Mapping[str, str]) -> Sheet:
    """Two rows a method or warm start: the published setting and the chosen trial; one where these are the same.

    Args:
        titles: task → heading.
    """
    tasks, rows = outcome.settings["tasks"], []
    for method, stage, entry in _stages(outcome):
        trials, chosen = outcome.of(method, stage), entry.get("chosen")
        words = "published; no trial came to its end" if chosen is None else "published, chosen" if chosen == 0 else (
            "published")
        rows.append(_row(outcome, method, stage, trials[0], words, entry))
        if chosen:
            rows.append(_row(outcome, method, stage, trials[chosen], f"tuned (trial {chosen})", entry))
    return Sheet(
        KEY, "Published hyperparameters against tuned", _intro(outcome, titles),
        ("method", "setting", "score in the trials", "score in the finals", "bracketed",
         *[titles.get(task, task) for task in tasks], "searched hyperparameters"),
        tuple(rows),
        (f"Chosen by: {RULE}.",
         "Scores and the columns of tasks (finals where there were any, else trials): validation reward increase in "
         "standard deviations of r₀ over π₀'s completions; after ±, the standard error over final seeds.",
         "Bracketed: no chosen value lies at the edge of what was searched, extensions included.",
         f"n = {_seeds(outcome)}.",
         "The score in the trials is the best of several and so flatters; that in the finals is the best of fewer, on "
         "other seeds. What a setting is worth shows on the test split and seeds of results."),
        _reduced(outcome))


def _stages(outcome: Outcome) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, stage, entry) for method, stages in outcome.found.items() for stage, entry in stages.items()]


def name_of(method: str, stage: str) -> str:
    """A method's name as a reader sees it; that of its warm start."""
    return style.label(method) + (", warm start" if stage == WARM_START else "")


def _row(outcome: Outcome, method: str, stage: str, trial: dict[str, str], setting: str,
         entry: dict[str, Any]) -> tuple[str, ...]:
    values = ", ".join(f"{name} {_plain(trial[name])}" for name in entry["ranges"])
    final, error = _signed(trial["final score"]), trial["final standard error"]
    chosen = trial["chosen"] == "yes"
    return (name_of(method, stage), setting, _signed(trial["score"]),
            f"{final} ± {float(error):.3f}" if error else final or "–",
            ("yes" if entry["bracketed"] else "no") if chosen else "–",
            *[_signed(trial.get(f"{task} final") or trial.get(task, "")) or "–" for task in outcome.settings["tasks"]],
            values)


def _plain(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _signed(value: str) -> str:
    """A number with its sign, none where it rounds to zero; or the word."""
    try:
        return decimal(float(value), 3, signed=True)
    except ValueError:
        return value


def _intro(outcome: Outcome, titles: Mapping[str, str]) -> str:
    settings, budget = outcome.settings, outcome.settings["budget"]
    tried = settings.get("trial_tasks", settings["tasks"])
    where, again = ("", "") if tried == settings["tasks"] else (
        f" on {', '.join(titles.get(task, task) for task in tried)}", " on every task")
    limit = f"{budget['limit']:,.10g} {style.BUDGETS[budget['kind']]}"
    return (f"{settings['trials']} trials of each method and each warm start at {settings['share']:.2g} of {limit}"
            f"{where}, the best {settings['finalists']} again at all of it{again}; trial 0 is the published setting, "
            f"the others are points of a quasi-random sequence in the search space. A warm start has its share of the "
            f"budget, and what follows it is scored from its end.")


def _seeds(outcome: Outcome) -> str:
    trial, final = (outcome.settings[name] for name in ("seeds", "final_seeds"))
    return (f"{len(trial)} seed{'s' if len(trial) > 1 else ''} a trial ({', '.join(map(str, trial))}), {len(final)} in "
            f"the finals ({', '.join(map(str, final))})")


def _reduced(outcome: Outcome) -> str:
    n = len(outcome.settings["final_seeds"])
    words = f"reduced protocol ({n} seed{'s' if n > 1 else ''}), not comparable"
    return words if n < FULL_PROTOCOL_SEEDS else ""


def summary(outcome: Outcome) -> str:
    """For a terminal: for each method and warm start its chosen trial, with the score and its standard error."""
    lines = ["scores: validation reward increase, in standard deviations of r₀ over π₀'s completions"]
    for method, stage, entry in _stages(outcome):
        trials = outcome.of(method, stage)
        line = f"  {name_of(method, stage):24} published {_signed(trials[0]['score'])} in the trials"
        if (chosen := entry.get("chosen")) is None:
            line += "; no trial came to its end, so the published setting stays"
        else:
            trial = trials[chosen]
            error = f" ± {float(trial['final standard error']):.3f}" if trial["final standard error"] else ""
            values = ", ".join(f"{name} = {_plain(trial[name])}" for name in entry["ranges"])
            line += (f"; chosen {_signed(trial['score'])}, in the finals {_signed(trial['final score'])}{error} "
                     f"(trial {chosen}: {values}; {'bracketed' if entry['bracketed'] else 'NOT bracketed'})")
        lines.append(line)
    return "\n".join(lines)


def write_report(outcome: Outcome, folder: Path, titles: Mapping[str, str]) -> list[Path]:
    """Write the table (CSV, Markdown, LaTeX) and the figure (PNG, SVG); same outcome, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = formats.files(published_vs_tuned(outcome, titles))
    for name, text in texts.items():
        write_text(folder / name, text)
    with matplotlib.style.context(["default", style.RC]):
        return [*(folder / name for name in texts), *frame.save(trial_scores(outcome, titles), folder / "trial_scores")]


def trial_scores(outcome: Outcome, titles: Mapping[str, str]) -> Figure:
    """Score of every trial by method and stage, in the order of the trials; published and chosen ones are marked."""
    figure = frame.new(frame.PAGE, 5.6)
    axes = figure.add_subplot()
    stages = _stages(outcome)
    looks = style.looks([*outcome.found])
    for place, (method, stage, _) in enumerate(stages):
        _draw(axes, outcome.of(method, stage), place, looks[method])
    axes.axhline(0, **frame.DASHED, zorder=1)
    axes.set_xticks(range(len(stages)), [name_of(method, stage).replace(", ", "\n") for method, stage, _ in stages],
                    rotation=90 if len(stages) > CROWDED else 0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(stages) - 0.4)
    scores = [value for row in outcome.trials if (value := _number(row["score"])) is not None]
    lowest = EDGE if len(scores) < len(outcome.trials) else min([0.0, *scores])  # words are drawn at the lower end
    axes.set_ylim(max(lowest, EDGE) - 0.12, max([0.0, *scores]) + 0.12)
    axes.set_ylabel("score in the trials [standard deviations of r₀]")
    marks = [Line2D([], [], linestyle="", color=style.INK, marker=marker, markersize=size, markerfacecolor=face)
             for marker, size, face in (("o", 7, style.INK), ("o", 12, "none"), ("*", 14, style.INK),
                                        ("v", 7, style.INK), ("x", 7, style.INK))]
    names = ["trial", "published setting (trial 0)", "chosen in the finals", f"below −{-EDGE:g}", "diverged or failed"]
    height = frame.top_legend(figure, marks, names, len(names))
    frame.frame(
        figure, "Every trial of the search", f"profile {outcome.settings['profile']}, {_seeds(outcome)}",
        _reduced(outcome),
        f"A dot is one trial, from left to right in the order of the search. {_intro(outcome, titles)} Commit: "
        f"{', '.join(commit[:10] + commit[40:] for commit in outcome.commits)}.", height)
    return figure


def _number(text: str) -> float | None:
    """A score; None for the word of a trial that did not come to its end."""
    try:
        return float(text)
    except ValueError:
        return None


def _draw(axes: Axes, trials: list[dict[str, str]], place: int, look: style.Look) -> None:
    for number, trial in enumerate(trials):
        x, value = place + 0.8 * ((number + 0.5) / len(trials) - 0.5), _number(trial["score"])
        y = EDGE if value is None else max(value, EDGE)
        marker = "x" if value is None else "v" if value < EDGE else "o"
        chosen = trial["chosen"] == "yes"
        if chosen:
            axes.scatter(x, y, STAR, look.colour, marker="*", edgecolors=style.INK, linewidths=0.8, zorder=4)
        else:
            axes.scatter(x, y, DOT, look.colour, marker=marker, zorder=3)
        if number == 0:
            area = RING_OF_STAR if chosen else RING
            axes.scatter(x, y, area, "none", marker="o", edgecolors=style.INK, linewidths=1.2, zorder=5)
