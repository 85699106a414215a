"""A comparison written down: ``comparison.{md,csv,tex,png,svg}`` and a summary for the terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmark.core import escape, statistics
from benchmark.core.files import write_text
from benchmark.reporting.plots import comparison as plot
from benchmark.reporting.plots import style
from benchmark.reporting.tables import formats, spreadsheet
from benchmark.reporting.tables.comparison import PairedCell, SetComparison
from benchmark.reporting.tables.sheets import Sheet, decimal


def write(comparison: SetComparison, folder: Path) -> list[Path]:
    """Write the comparison into ``folder`` (which exists) and return the files; same inputs, same bytes."""
    sheets = [settings_sheet(comparison), cells_sheet(comparison)]
    a, b = comparison.names
    lines = [f"# {escape.markdown(a)} (A) against {escape.markdown(b)} (B)", ""]
    if words := comparison.warning():
        lines += [f"**{escape.markdown(words[0].upper() + words[1:])}.**", ""]
    lines += [summary(comparison), ""]
    lines += map(formats.to_markdown, sheets)
    drawn = plot.write(comparison, folder / "comparison")
    if drawn:
        lines += ["![Difference of the test reward increase](comparison.png)", ""]
    texts = {
        "comparison.md": "\n".join(lines).rstrip("\n") + "\n",
        "comparison.csv": spreadsheet.to_csv(sheets[1]),
        "comparison.tex": "\n".join(map(formats.to_latex, sheets)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts] + drawn


def summary(comparison: SetComparison) -> str:
    """``"42 cells: 40 identical curves, 1 within the interval, 1 differs."``, verdicts by how often they occur."""
    counts = Counter(cell.verdict.split(":")[0] for cell in comparison.cells)
    listed = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
    return f"{len(comparison.cells)} cell{'s' if len(comparison.cells) != 1 else ''} (task × method): {listed}."


def terminal(comparison: SetComparison) -> str:
    """What differs between the sets, a line per cell, and the count of verdicts."""
    lines = [f"A = {comparison.names[0]}, B = {comparison.names[1]}"]
    if words := comparison.warning():
        lines.append(words.upper())
    for d in comparison.differences:
        lines.append(f"  {d.what}{f' ({d.where})' if d.where else ''}: {d.a} | {d.b}")
    for cell in comparison.cells:
        figure = ""
        if cell.difference is not None:
            figure = f"B − A = {_signed(cell.difference)} {_bounds(cell)} ({cell.how}), "
        lines.append(f"{_title(comparison, cell)} / {style.label(cell.method)}: {figure}{cell.verdict}")
    return "\n".join([*lines, summary(comparison), _alarms(comparison)])


def _title(comparison: SetComparison, cell: PairedCell) -> str:
    return comparison.holding(cell.task).title(cell.task)


def _signed(value: float | None) -> str:
    return "–" if value is None else decimal(value, 3, signed=True)


def _bounds(cell: PairedCell) -> str:
    return f"[{_signed(cell.interval[0])}, {_signed(cell.interval[1])}]" if cell.interval else "–"


def _alarms(comparison: SetComparison) -> str:
    nominal, likely = comparison.false_alarms()
    cells = len(comparison.compared)
    if not cells:
        return "No cell was compared by an interval."
    return (
        f"{cells} cell{'s were' if cells != 1 else ' was'} compared by {'their' if cells != 1 else 'its'} 95 % "
        f"interval. If A and B were alike, {nominal:.1f} false alarms (\"differs\") were to be expected at the nominal "
        f"5 %, and about {likely:.1f} in normal approximation with these numbers of seeds: a percentile bootstrap over "
        "few seeds is narrower than its name says."
    )


def cells_sheet(comparison: SetComparison) -> Sheet:
    """A row per task and method, with the verdict in words."""
    a, b = comparison.names
    rows = []
    for cell in comparison.cells:
        one, two = (str(len(seeds)) for seeds in cell.seeds)
        means = ["diverged" if lost else _signed(mean) for mean, lost in zip(cell.means, cell.lost, strict=True)]
        ratios = ["–" if ratio is None else f"{ratio:.2f}" for ratio in cell.ratios]
        rows.append((_title(comparison, cell), style.label(cell.method), *means, _signed(cell.difference),
                     _bounds(cell), cell.how or "–", *ratios, one if one == two else f"{one} in A, {two} in B",
                     str(len(cell.each)) if cell.each else "–", cell.verdict))
    header = ("task", "method", f"increase in A, {a} [r₀ score]", f"increase in B, {b} [r₀ score]", "B − A [r₀ score]",
              "95 % interval [r₀ score]", "seeds", "time, B / A [ratio]", "forward tokens, B / A [ratio]",
              "peak memory, B / A [ratio]", "n [runs]", "n [pairs]", "verdict")
    notes = (
        f"A is {a}, B is {b}. Reward increase: test reward at the end minus that of π₀, mean over n seeds, scored by "
        "the frozen initial reward model r₀ of each set.",
        f"Interval: 95 % percentile bootstrap of the mean difference over seeds ({statistics.SAMPLES:,} samples). "
        "Paired: the seeds that both sets have, from the same start (rewards of π₀ equal to 1e-9), are drawn in pairs, "
        "and all readings of the row are of these; unpaired: each set is drawn by itself.",
        "Verdict: identical curves, every reward of every evaluation is equal to the last bit; within the interval, it "
        "holds 0; differs, it does not.",
        _alarms(comparison),
        "Ratios: B / A of means over seeds, optimisation only (evaluation and what all methods share are not in it).",
    )
    reduced = "; ".join(f"{name}: {words}" for name, results in zip("AB", comparison.results, strict=True)
                        if (words := results.reduced()))
    return Sheet("comparison", "Reward increase, B minus A",
                 "The difference of the test reward increase for every task and method, and what it cost.", header,
                 tuple(rows), notes, reduced)


def settings_sheet(comparison: SetComparison) -> Sheet:
    """What differs between the two sets, what makes them different measurements first."""
    rows = tuple((d.what, d.where or "all", d.a, d.b, "yes" if d.loud else "no") for d in comparison.differences)
    return Sheet("settings", "What else differs", "What the two sets were not given alike.",
                 ("what", "where", "A", "B", "another measurement"), rows or (("nothing", "–", "–", "–", "no"),),
                 ("Another measurement: it changes what a reward means or what was paid for it.",))
