"""``cancel``: takes back what of a result folder is with an engine."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(commands: argparse._SubParsersAction) -> None:
    cancel = commands.add_parser("cancel", help="take back what of a result folder is in the queue of an engine")
    cancel.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    cancel.set_defaults(command=command_cancel)


def command_cancel(options: argparse.Namespace) -> int:
    from benchmark.engines.standing import cancel

    print(cancel(options.folder))
    return 0
