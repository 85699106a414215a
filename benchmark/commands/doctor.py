"""``doctor``: whether a folder is fit for runs on several machines."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(commands: argparse._SubParsersAction) -> None:
    doctor = commands.add_parser("doctor", help="test whether several machines can work in a folder: its file system, "
                                 "locks, and which machines see it with the same code")
    doctor.add_argument("folder", type=Path, metavar="DIR", help="the folder that is to be --out or --cache")
    doctor.set_defaults(command=command_doctor)


def command_doctor(options: argparse.Namespace) -> int:
    from benchmark.commands.options import EXIT_FAILED
    from benchmark.engines.doctor import examine

    fit = True
    for sentence, well in examine(options.folder):
        print(f"{'ok     ' if well else 'CAUTION'} {sentence}")
        fit &= well
    return 0 if fit else EXIT_FAILED
