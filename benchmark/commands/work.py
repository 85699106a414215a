"""``work``: carries out a bundle that an engine has brought to this machine."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(commands: argparse._SubParsersAction) -> None:
    work = commands.add_parser("work", help="carry out a bundle of runs: what an engine's jobs do (docs/scaling.md)")
    work.add_argument("bundle", type=Path, metavar="BUNDLE", help="a file below .engine/bundles of a result folder")
    work.add_argument("--tied", action="store_true", help="end when standard input does")
    work.add_argument("--trust-remote-code", action="store_true", help="let the runs' model run code of its own, if "
                      "they were made so")
    work.set_defaults(command=command_work)


def command_work(options: argparse.Namespace) -> int:
    import os

    from benchmark.engines.work import end_with_input, work

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # several processes share the cores already
    if options.tied:
        end_with_input()
    return work(options.bundle, options.trust_remote_code)
