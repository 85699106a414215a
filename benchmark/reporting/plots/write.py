"""Every figure of a report as PNG and SVG; what they show is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path

import matplotlib.style

from benchmark.reporting.plots import curves, scores, style
from benchmark.reporting.plots.frame import DPI, save
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results

__all__ = ["DPI", "save", "write_all"]


def write_all(results: Results, folder: Path) -> list[Path]:
    """Write every figure of ``results`` into ``folder``; returns the paths.

    A task has ``reward_vs_time``, ``reward_vs_compute`` and ``reward_vs_kl``, and ``gold_vs_reward`` and ``gold_vs_kl``
    where somebody judges it; each again with ``_ablation`` in its name where ZOPrO's controls stand beside other
    methods. All tasks together have ``overview``, and ``scores`` and ``profile`` where r₀'s standard deviation is known
    for every task. Same input, same bytes.
    """
    written: list[Path] = []
    with matplotlib.style.context(["default", style.RC]):
        for task in results.tasks:
            for suffix, methods in style.groups(results.methods_of(task)).items():
                whose = ", ZOPrO's controls" if suffix else ""
                for name, kind in (("reward_vs_time", "seconds"), ("reward_vs_compute", "forward_tokens")):
                    figure = curves.budget(results, task, methods, kind, whose)
                    written += save(figure, folder / f"{name}{suffix}_{task}")
                title = f"reward against KL, the price paid{whose}"
                figure = curves.path(results, task, methods, "kl", "reward", title)
                written += save(figure, folder / f"reward_vs_kl{suffix}_{task}")
                if judge := results.judge(task):
                    title = f"over-optimisation, {style.JUDGES[judge][0]} by reward{whose}"
                    figure = curves.path(results, task, methods, "reward", judge, title)
                    written += save(figure, folder / f"gold_vs_reward{suffix}_{task}")
                    title = f"{style.JUDGES[judge][0]} against KL, the goal by the price{whose}"
                    figure = curves.path(results, task, methods, "kl", judge, title)
                    written += save(figure, folder / f"gold_vs_kl{suffix}_{task}")
        written += save(curves.overview(results), folder / "overview")
        if (found := aggregate.scores(results)) is not None:
            written += save(scores.scores(results, found), folder / "scores")
            written += save(scores.profile(results, found), folder / "profile")
    return written
