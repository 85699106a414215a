"""``status``: what has become of every run of a result folder."""

from __future__ import annotations

import argparse
from pathlib import Path

NOTE = 120  # characters of a note that a line shows


def register(commands: argparse._SubParsersAction) -> None:
    status = commands.add_parser("status", help="what is done, running, queued, interrupted or failed in a result "
                                 "folder, and why")
    status.add_argument("folder", type=Path, metavar="DIR", help="the --out folder of a run command")
    status.add_argument("--json", action="store_true", help="print all of it as JSON")
    status.set_defaults(command=command_status)


def command_status(options: argparse.Namespace) -> int:
    import dataclasses
    import json

    from benchmark.core.terminal import aligned
    from benchmark.engines.standing import sent
    from benchmark.grid.status import STATES, standings

    found = standings(options.folder, sent(options.folder))
    counts = {state: n for state in STATES if (n := sum(run.state == state for run in found))}
    if options.json:
        print(json.dumps({"counts": counts, "runs": [dataclasses.asdict(run) for run in found]}, indent=1))
        return 0
    print(f"{options.folder}: {len(found)} runs: {', '.join(f'{n} {state}' for state, n in counts.items())}")
    rows = [("task", "method", "seed", "state", "spent", "note")]
    for run in found:
        note = " ".join((run.why or "; ".join(run.warnings)).split())
        rows.append((run.task, run.method, str(run.seed), run.state, "" if run.spent is None else f"{run.spent:.0%}",
                     note if len(note) <= NOTE else f"{note[:NOTE]}…"))
    print(*aligned(rows, left=(0, 1, 3, 5)), sep="\n")
    return 0
