"""``report``: tables and plots of a result folder from its files."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path

from baselines.registry import ORDER
from benchmark.commands.options import check_folder, show_files, task_titles


def register(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="rebuild tables and plots of a result folder, or of a sweep, from its "
                                 "files")
    report.add_argument("folder", type=Path, metavar="DIR")
    report.add_argument("--paper", action="store_true", help="instead, write the figure and the LaTeX table that go "
                        "into a paper into DIR/paper; the options below say of what")
    report.add_argument("--method", "--methods", action="append", default=[], metavar="NAME", dest="methods",
                        help="for --paper: methods, separated by commas (default: all)")
    report.add_argument("--metric", default="reward", metavar="NAME", help="for --paper: reward (default), gold, "
                        "win_rate, kl or another metric of the runs")
    report.add_argument("--x", choices=("time", "compute"), default="compute", help="for --paper: the axis (default "
                        "compute)")
    report.add_argument("--format", choices=("pdf", "svg", "png"), default="pdf", help="for --paper: of the figure "
                        "(default pdf)")
    report.set_defaults(command=command_report)


def command_report(options: argparse.Namespace) -> int:
    from benchmark.studies.sweep import points

    check_folder(options.folder, "report")
    if options.paper:
        show_paper(options)
        return 0
    if not points.is_sweep(options.folder):
        show_report(options.folder)
        return 0
    for point in points.read(options.folder):
        if list((options.folder / point.folder).glob("*/summary.json")):
            print(f"\n{point.folder}:")
            show_report(options.folder / point.folder)
    show_sweep(options.folder)
    return 0


def show_report(out: Path, around: list[str] | None = None) -> None:
    """Write tables and plots of ``out`` (of what can stand beside the runs ``around``), print the table and name the
    files."""
    from benchmark.reporting import report

    result = report(out, method_order=ORDER, task_titles=task_titles(), around=around)
    print(result.summary)
    for caution in result.cautions:
        print(f"note: {caution}")
    print(f"{result.used} runs reported, {result.ignored} left out. Tables and plots:")
    show_files(result.written)


def show_paper(options: argparse.Namespace) -> None:
    """Write figure and table for a paper, and name the files."""
    from benchmark.reporting.plots import paper
    from benchmark.reporting.read.reader import read

    methods = [name.strip() for part in options.methods for name in part.split(",")]
    results = read(options.folder, method_order=ORDER, task_titles=task_titles())
    for path in paper.write(results, methods, options.metric, options.x, options.format, options.folder):
        print(f"  {path}")


def show_sweep(out: Path, around: Mapping[str, Collection[str]] | None = None) -> None:
    """Write the tables and figures over all points of the sweep in ``out``, and name the files.

    Args:
        around: folder of a point → names of runs that must be in it, as for ``reader.read``.
    """
    from benchmark.studies.sweep import write_report

    print("\nThe sweep:")
    show_files(write_report(out, ORDER, task_titles(), around))
