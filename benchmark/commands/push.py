"""``push``: the runs of a result folder as a data set on the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import check_folder, task_titles


def register(commands: argparse._SubParsersAction) -> None:
    push = commands.add_parser("push", help="the runs of a result folder as a data set with a card on the Hugging Face "
                               "hub, under the user's own login; refused where runs are unfinished, or files hold "
                               "secrets or absolute paths")
    push.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    push.add_argument("name", metavar="ORG/NAME", help="the data set")
    push.add_argument("--private", action="store_true", help="make it private, if it is new")
    push.add_argument("--license", default="", metavar="ID", help="licence of the results, for the card (cc-by-4.0, …)")
    push.add_argument("--dry-run", action="store_true", help="print the card and the files, and send nothing")
    push.set_defaults(command=command_push)


def command_push(options: argparse.Namespace) -> int:
    check_folder(options.folder, "push")
    from benchmark.studies import publish

    parcel = publish.pack(options.folder, options.name, task_titles(), options.license)
    if options.dry_run:
        print(parcel.card, *parcel.files, sep="\n")
    else:
        print(publish.push(parcel, options.name, options.private))
    size = sum(path.stat().st_size for path in parcel.files.values())
    print(f"{len(parcel.files)} files, {size / 1e6:.1f} MB{', not sent' if options.dry_run else ''}")
    return 0
