"""``export``: the runs of a result folder as tables for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import check_folder, show_files

FORMATS = ("csv", "parquet")


def register(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="the runs of a result folder as tables for other programs: curves, "
                                 "updates and summaries, one row an observation")
    export.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    export.add_argument("--to", choices=FORMATS, default="csv", help="csv (default) or parquet")
    export.set_defaults(command=command_export)


def command_export(options: argparse.Namespace) -> int:
    check_folder(options.folder, "export")
    from benchmark.reporting.read.frames import read_runs

    show_files(read_runs(options.folder).export(options.folder, options.to))
    return 0
