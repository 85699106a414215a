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
from benchmark.studies.tuning.scores import RULE, Result, score

KEY = "published_vs_tuned"
EDGE = -1.0  # lower end of the figure's axis: what is further down is drawn there
DOT, RING, STAR, RING_OF_STAR = 60, 170, 260, 520  # marker areas [points²]


def published_vs_tuned(outcome: Outcome, titles: Mapping[str, str]) -> Sheet:
    """Two rows a method: its published setting and the chosen trial; one where these are the same.

    Args:
        titles: task → heading.
    """
    tasks, rows = outcome.settings["tasks"], []
    for method in outcome.searched:
        chosen = outcome.chosen.get(method)
        published = outcome.of(method)[0]
        if chosen is None:
            rows.append(_row(outcome, published, "published; no trial came to its end"))
        elif chosen is published:
            rows.append(_row(outcome, published, "published, chosen"))
        else:
            rows += [_row(outcome, published, "published"), _row(outcome, chosen, f"tuned (trial {chosen.trial})")]
    levels = ", ".join(f"{titles.get(task, task)} {outcome.levels[task]:+.3f}" for task in tasks)
    return Sheet(
        KEY, "Published hyperparameters against tuned",
        f"{outcome.settings['trials']} trials of each method at {_budget(outcome)} a run; trial 0 is the published "
        f"setting, the others are points of a quasi-random sequence in the method's search space. Under each task: "
        f"validation reward increase.",
        ("method", "setting", "score [1 = best increase]",
         *[f"{titles.get(task, task)} [r₀ score]" for task in tasks],
         "searched hyperparameters"),
        tuple(rows),
        (f"Chosen by: {RULE}.", f"Increase that counts as 1: {levels}.", f"n = {_seeds(outcome)}.",
         "The score of a chosen trial is the best of several and so flatters it; what the setting is worth shows on "
         "the test split and other seeds."),
        _reduced(outcome))


def _row(outcome: Outcome, result: Result, setting: str) -> tuple[str, ...]:
    values = ", ".join(f"{name} {_plain(value)}" for name, value in outcome.values(result).items())
    return (style.label(result.method), setting, _signed(score(result, outcome.levels)),
            *[_signed(result.reached[task]) for task in outcome.settings["tasks"]], values)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _signed(value: float | str) -> str:
    """A number with its sign, none where it rounds to zero; or the word."""
    return value if isinstance(value, str) else decimal(value, 3, signed=True)


def _budget(outcome: Outcome) -> str:
    budget = outcome.settings["budget"]
    return f"{budget['limit']:,.10g} {style.BUDGETS[budget['kind']]}"


def _seeds(outcome: Outcome) -> str:
    seeds = outcome.settings["seeds"]
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} a trial ({', '.join(map(str, seeds))})"


def _reduced(outcome: Outcome) -> str:
    n = len(outcome.settings["seeds"])
    words = f"reduced protocol ({n} seed{'s' if n > 1 else ''}), not comparable"
    return words if n < FULL_PROTOCOL_SEEDS else ""


def summary(outcome: Outcome) -> str:
    """For a terminal: each method's published score, and that of its chosen trial with the values to it."""
    lines = [f"{outcome.settings['trials']} trials a method; score 1 = the largest increase of any trial"]
    for method in outcome.searched:
        published, chosen = outcome.of(method)[0], outcome.chosen.get(method)
        line = f"  {style.label(method):12} published {_signed(score(published, outcome.levels))}"
        if chosen is not None:
            values = ", ".join(f"{name} = {_plain(value)}" for name, value in outcome.values(chosen).items())
            line += f"  chosen {_signed(score(chosen, outcome.levels))} (trial {chosen.trial}: {values})"
        lines.append(line)
    return "\n".join(lines)


def write_report(outcome: Outcome, folder: Path, titles: Mapping[str, str]) -> list[Path]:
    """Write the table (CSV, Markdown, LaTeX) and the figure (PNG, SVG); same outcome, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = formats.files(published_vs_tuned(outcome, titles))
    for name, text in texts.items():
        write_text(folder / name, text)
    with matplotlib.style.context(["default", style.RC]):
        return [*(folder / name for name in texts), *frame.save(trial_scores(outcome), folder / "trial_scores")]


def trial_scores(outcome: Outcome) -> Figure:
    """Score of every trial by method, in the order of the trials; published and chosen ones are marked."""
    figure = frame.new(frame.PAGE, 5.6)
    axes = figure.add_subplot()
    methods, looks = list(outcome.searched), style.looks(list(outcome.searched))
    for place, method in enumerate(methods):
        _draw(axes, outcome, place, method, looks[method])
    axes.axhline(0, **frame.DASHED, zorder=1)
    axes.set_xticks(range(len(methods)), [style.label(method) for method in methods])
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(methods) - 0.4)
    scores = [score(result, outcome.levels) for result in outcome.results]
    lowest = min(EDGE if isinstance(value, str) else max(value, EDGE) for value in scores)
    axes.set_ylim(min(lowest, 0.0) - 0.12, 1.12)
    axes.set_ylabel("score [1 = largest increase of any trial]")
    marks = [Line2D([], [], linestyle="", color=style.INK, marker=marker, markersize=size, markerfacecolor=face)
             for marker, size, face in (("o", 7, style.INK), ("o", 12, "none"), ("*", 14, style.INK),
                                        ("v", 7, style.INK), ("x", 7, style.INK))]
    names = ["trial", "published setting (trial 0)", "chosen", f"below −{-EDGE:g}", "diverged or failed"]
    height = frame.top_legend(figure, marks, names, len(names))
    frame.frame(
        figure, "Every trial of the search", f"profile {outcome.settings['profile']}, {outcome.settings['trials']} "
        f"trials a method, {_seeds(outcome)}", _reduced(outcome),
        f"A dot is one trial, from left to right in the order of the search. Score: mean over {len(outcome.levels)} "
        f"task{'s' if len(outcome.levels) > 1 else ''} of validation reward increase over the largest increase that "
        f"any trial of any method reached there. Budget: {_budget(outcome)} a run. Commit: "
        f"{', '.join(commit[:10] + commit[40:] for commit in outcome.commits)}.", height)
    return figure


def _draw(axes: Axes, outcome: Outcome, place: int, method: str, look: style.Look) -> None:
    results, chosen = outcome.of(method), outcome.chosen.get(method)
    for result in results:
        x = place + 0.8 * ((result.trial + 0.5) / len(results) - 0.5)
        value = score(result, outcome.levels)
        y = EDGE if isinstance(value, str) else max(value, EDGE)
        marker = "x" if isinstance(value, str) else "v" if value < EDGE else "o"
        if result is chosen:
            axes.scatter(x, y, STAR, look.colour, marker="*", edgecolors=style.INK, linewidths=0.8, zorder=4)
        else:
            axes.scatter(x, y, DOT, look.colour, marker=marker, zorder=3)
        if result.trial == 0:
            area = RING_OF_STAR if result is chosen else RING
            axes.scatter(x, y, area, "none", marker="o", edgecolors=style.INK, linewidths=1.2, zorder=5)
