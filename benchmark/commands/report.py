"""``report``: tables and plots of a result folder from its files."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import ORDER
from benchmark.commands.options import check_folder, show_files, task_titles


def register(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser("report", help="rebuild tables and plots of a result folder from its files")
    report.add_argument("folder", type=Path, metavar="DIR")
    report.set_defaults(command=command_report)


def command_report(options: argparse.Namespace) -> int:
    check_folder(options.folder, "report")
    show_report(options.folder)
    return 0


def show_report(out: Path, only: list[str] | None = None) -> None:
    """Write tables and plots of ``out`` (of the runs ``only``), print the table and name the files."""
    from benchmark.reporting import report

    result = report(out, method_order=ORDER, task_titles=task_titles(), only=only)
    print(result.summary)
    for caution in result.cautions:
        print(f"note: {caution}")
    print(f"{result.used} runs reported, {result.ignored} left out. Tables and plots:")
    show_files(result.written)
