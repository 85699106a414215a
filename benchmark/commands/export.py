"""``export``: the runs of a result folder as tables for other programs, or in a tracker of experiments."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import check_folder, show_files

TABLES, TRACKERS = ("csv", "parquet"), ("tensorboard", "wandb", "trackio")


def register(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="the runs of a result folder as tables for other programs (curves, "
                                 "updates and summaries, one row an observation), or in a tracker of experiments")
    export.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    export.add_argument("--to", choices=(*TABLES, *TRACKERS), default="csv", help="csv (default), parquet, or a "
                        "tracker, which is an extra of its name")
    export.add_argument("--project", default="zo-benchmark", metavar="NAME", help="of wandb and trackio: the project "
                        "(default zo-benchmark)")
    export.set_defaults(command=command_export)


def command_export(options: argparse.Namespace) -> int:
    check_folder(options.folder, "export")
    from benchmark.reporting import trackers
    from benchmark.reporting.read.frames import read_runs

    runs = read_runs(options.folder)
    if options.to in TABLES:
        show_files(runs.export(options.folder, options.to))
    else:
        show_files(trackers.track(runs.results, options.folder, options.to, options.project))
        print(f"{len(runs.results.runs)} runs exported to {options.to}")
    return 0
