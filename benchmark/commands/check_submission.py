"""``check-submission``: whether a result folder can stand beside the committed ones, or what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import EXIT_FAILED, add_plugins, check_folder


def register(commands: argparse._SubParsersAction) -> None:
    submission = commands.add_parser("check-submission", help="whether a result folder has what it needs to stand "
                                     "beside the committed ones (docs/submitting.md), or what is missing")
    submission.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    add_plugins(submission)
    submission.set_defaults(command=command_check_submission)


def command_check_submission(options: argparse.Namespace) -> int:
    check_folder(options.folder, "check-submission")
    from benchmark.studies.submission import check

    points = check(options.folder)
    for point in points:
        print("\n".join(point.lines()))
    missing = sum(bool(point.missing) for point in points)
    print(f"{options.folder}: {f'{missing} of {len(points)} points are missing' if missing else 'nothing is missing'}")
    return EXIT_FAILED if missing else 0
