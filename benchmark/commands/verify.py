"""``verify``: finished runs are run again and held against what the folder says."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import METHODS
from benchmark.commands.options import EXIT_FAILED, make_folder, names, seed_list
from benchmark.errors import ConfigError
from tasks import TASKS


def register(commands: argparse._SubParsersAction) -> None:
    verify = commands.add_parser("verify", help="run finished runs again and compare: identical, within tolerance, or "
                                 "different, and then where first")
    verify.add_argument("folder", type=Path, metavar="DIR", help="a result folder")
    verify.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    verify.add_argument("--method", action="append", metavar="NAME", help="whose runs (default: all)")
    verify.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds", help="seeds (default: all)")
    verify.add_argument("--sample", type=int, metavar="N", help="only N of these runs, always the same ones")
    verify.add_argument("--tolerance", type=float, default=1e-3, metavar="X", help="largest difference of a number, "
                        "relative to the largest value of its field, on another platform (default 0.001)")
    verify.add_argument("--data", metavar="FOLDER", help="the data folder of runs on local files")
    verify.add_argument("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
                        help="folder of shared preparations (default results/cache); an empty one repeats them too")
    verify.add_argument("--model", metavar="FOLDER", help="the model folder of runs that had one")
    verify.add_argument("--judge", metavar="FOLDER", help="the folder of their judging language model")
    verify.add_argument("--trust-remote-code", action="store_true", help="let a model run the code that it brings, "
                        "for runs that were made so; a result folder cannot ask for it")
    verify.set_defaults(command=command_verify)


def command_verify(options: argparse.Namespace) -> int:
    if (options.sample is not None and options.sample < 1) or options.tolerance < 0:
        raise ConfigError("verify: --sample takes 1 or more, --tolerance 0 or more.")
    if not options.folder.is_dir():
        raise ConfigError(f"verify {options.folder}: no such folder. Pass the --out folder of a run command.")
    from benchmark.revisit import finished_runs, with_models
    from benchmark.verification import GOOD, sample, verify

    runs = finished_runs(options.folder, names(options.task, list(TASKS), "task"),
                         names(options.method, list(METHODS), "method"),
                         seed_list(options.seeds) if options.seeds else None, options.trust_remote_code)
    runs = [(with_models(run, options.model, options.judge), store) for run, store in sample(runs, options.sample)]
    for folder in (options.folder, options.cache):
        make_folder(folder)
    verdicts = verify(options.folder, runs, options.cache, options.data, options.tolerance, print)
    wrong = sum(verdict.verdict not in GOOD for verdict in verdicts)
    print(f"{len(verdicts) - wrong} of {len(verdicts)} runs repeat; {options.folder / 'verify.json'}")
    return EXIT_FAILED if wrong else 0
