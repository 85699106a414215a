"""``verify``: finished runs are run again and held against what the folder says."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import EXIT_FAILED, add_choice, add_origin, check_folder, chosen_runs, make_folder
from benchmark.core.errors import ConfigError


def register(commands: argparse._SubParsersAction) -> None:
    verify = commands.add_parser("verify", help="run finished runs again and compare: identical, within tolerance, or "
                                 "different, and then where first")
    add_choice(verify, "a result folder", "all")
    verify.add_argument("--sample", type=int, metavar="N", help="only N of these runs, always the same ones")
    verify.add_argument("--tolerance", type=float, default=1e-3, metavar="X", help="largest difference of a number, "
                        "relative to the largest value of its field, on another platform (default 0.001)")
    verify.add_argument("--out", type=Path, metavar="FOLDER", help="where verify.json goes (default DIR; of runs that "
                        "git tracks results/runs/verify/NAME, so that they stay as they were committed)")
    add_origin(verify, "; an empty one repeats them too")
    verify.set_defaults(command=command_verify)


def command_verify(options: argparse.Namespace) -> int:
    if (options.sample is not None and options.sample < 1) or options.tolerance < 0:
        raise ConfigError("verify: --sample takes 1 or more, --tolerance 0 or more.")
    check_folder(options.folder, "verify")
    from benchmark.core import provenance
    from benchmark.grid.finished import with_models
    from benchmark.studies.verify import GOOD, sample, verify

    runs = chosen_runs(options, trust_remote_code=options.trust_remote_code)
    runs = [(with_models(run, options.model, options.judge), store) for run, store in sample(runs, options.sample)]
    committed = provenance.is_committed(options.folder)
    out = options.out or (Path("results/runs/verify") / options.folder.resolve().name if committed else options.folder)
    for folder in (out, options.cache):
        make_folder(folder)
    verdicts = verify(out, runs, options.cache, options.data, options.tolerance, print)
    wrong = sum(verdict.verdict not in GOOD for verdict in verdicts)
    print(f"{len(verdicts) - wrong} of {len(verdicts)} runs repeat; {out / 'verify.json'}")
    return EXIT_FAILED if wrong else 0
