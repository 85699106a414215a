"""Every figure of a report as PNG and SVG; what they show is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from benchmark.reporting.plots import curves, families, overview, paths, scores, style
from benchmark.reporting.plots.frame import DPI, save
from benchmark.reporting.plots.panels import panels
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results

__all__ = ["DPI", "save", "write_all"]


def write_all(results: Results, folder: Path) -> list[Path]:
    """Write every figure of ``results`` into ``folder``; returns the paths.

    A task has ``reward_vs_time``, ``reward_vs_compute`` and ``reward_vs_kl``, and ``gold_vs_reward`` and ``gold_vs_kl``
    where somebody judges it; each again with ``_ablation`` in its name where ZOPrO's controls stand beside other
    methods, and as small multiples where there are too many methods for one set of axes. All tasks together have
    ``overview`` and ``frontier``, and ``scores`` and ``profile`` where r₀'s standard deviation is known for every task.
    Same input, same bytes.
    """
    written: list[Path] = []
    with matplotlib.style.context(["default", style.RC]):
        for task in results.tasks:
            for suffix, methods in style.groups(results.methods_of(task)).items():
                whose = ", ZOPrO's controls" if suffix else ""
                for name, kind in (("reward_vs_time", "seconds"), ("reward_vs_compute", "forward_tokens")):
                    written += save(_budget(results, task, methods, kind, whose), folder / f"{name}{suffix}_{task}")
                title = f"reward against KL, the price paid{whose}"
                figure = _path(results, task, methods, "kl", "reward", title)
                written += save(figure, folder / f"reward_vs_kl{suffix}_{task}")
                if judge := results.judge(task):
                    title = f"over-optimisation, {style.JUDGES[judge][0]} by reward{whose}"
                    figure = _path(results, task, methods, "reward", judge, title)
                    written += save(figure, folder / f"gold_vs_reward{suffix}_{task}")
                    title = f"{style.JUDGES[judge][0]} against KL, the goal by the price{whose}"
                    figure = _path(results, task, methods, "kl", judge, title)
                    written += save(figure, folder / f"gold_vs_kl{suffix}_{task}")
        written += save(overview.overview(results), folder / "overview")
        written += save(paths.frontier(results), folder / "frontier")
        if (found := aggregate.scores(results)) is not None:
            written += save(scores.scores(results, found), folder / "scores")
            written += save(scores.profile(results, found), folder / "profile")
    return written


def _budget(results: Results, task: str, methods: Sequence[str], kind: str, whose: str) -> Figure:
    if len(methods) <= families.CROWD:
        return curves.budget(results, task, methods, kind, whose)
    how = curves.words(results, [task], methods, f"{curves.BAND} {curves.ENDS}")
    return panels(results, task, methods, f"{curves.BUDGETS[kind][2]}{whose}", how,
                  lambda axes, own, behind: curves.draw_budget(axes, results, task, own, kind, behind=behind))


def _path(results: Results, task: str, methods: Sequence[str], x: str, y: str, title: str) -> Figure:
    if len(methods) <= families.CROWD:
        return paths.path(results, task, methods, x, y, title)
    return panels(results, task, methods, title, paths.words(results, [task], methods, x),
                  lambda axes, own, behind: paths.draw_path(axes, results, task, own, x, y, behind))
