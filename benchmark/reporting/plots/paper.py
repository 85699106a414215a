"""The figure and the table that go into a paper: chosen methods, one metric, nothing around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from benchmark.core.errors import ConfigError
from benchmark.core.files import replace_file, write_text
from benchmark.core.naming import check_name
from benchmark.core.paths import own_folder
from benchmark.core.records import METRICS
from benchmark.reporting.plots import curves, frame, style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables import formats, per_task

AXES = {"time": "seconds", "compute": "forward_tokens"}
FORMATS = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "svg": {"Date": None, "Creator": None},
           "png": {"Software": None}}  # what a file would say of when and by what it was drawn
SIZE = (5.5, 3.4)  # inches: the width of a column of text


def figure(results: Results, task: str, metric: str, x: str) -> Figure:
    """Mean change of a validation metric from π₀ over seeds, its 95 % bootstrap interval, and every seed's end."""
    methods = results.methods_of(task)
    drawn = frame.new(*SIZE)
    axes = drawn.add_subplot()
    curves.draw_budget(axes, results, task, methods, AXES[x], metric)
    words, unit = style.JUDGES.get(metric, (metric.replace("_", " "), METRICS.get(metric, ("", ""))[0]))
    axes.set_ylabel(curves.INCREASE if metric == "reward" else
                    f"change in {words} [{', '.join(filter(None, (unit, 'validation')))}]")
    axes.yaxis.label.set_fontsize(8.5)
    handles, names = frame.legend(results, methods, [task], "π₀ (start)")
    drawn.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), fontsize=8.5)
    return drawn


def write(results: Results, methods: Sequence[str], metric: str, x: str, kind: str, folder: Path) -> list[Path]:
    """Write ``METRIC_vs_X_TASK.KIND`` and ``table_TASK.tex`` below ``folder/paper``; returns the paths.

    Args:
        methods: whose runs; all if empty.
        metric: of curve.jsonl. x: time or compute. kind: pdf, svg or png.

    Raises:
        ConfigError: no run of a method, or none that has the metric.
    """
    chosen = {check_name(method, results.methods, "method among the runs") for method in methods} or results.methods
    results = replace(results, runs=tuple(run for run in results.runs if run.method in chosen))
    has = {task: all(run.series(AXES[x], metric)[0].size for run in results.of(task)) for task in results.tasks}
    if not any(has.values()):
        known = sorted({name for run in results.runs for row in run.curve for name in row.metrics})
        raise ConfigError(f"--metric {metric}: these runs do not all have it on any task. They have "
                          f"{', '.join(known)}.")
    out, written = own_folder(folder, "paper"), []
    with matplotlib.style.context(["default", style.RC, {"pdf.fonttype": 42}]):
        for task in (task for task in results.tasks if has[task]):
            path = out / f"{metric}_vs_{x}_{task}.{kind}"
            replace_file(path, partial(figure(results, task, metric, x).savefig, format=kind, metadata=FORMATS[kind]))
            table = out / f"table_{task}.tex"
            write_text(table, formats.to_latex(per_task.build(results, task)))
            written += [path, table]
    return written
