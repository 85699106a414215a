"""``diagnose``: the estimators' directions against the back-propagated gradient."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import make_folder, names, seed_list
from tasks import TASKS


def register(commands: argparse._SubParsersAction) -> None:
    diagnose = commands.add_parser("diagnose", help="direction quality: the estimators' directions against the "
                                   "back-propagated gradient, along finished runs")
    diagnose.add_argument("folder", type=Path, metavar="DIR", help="a result folder whose runs kept their adapters")
    diagnose.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    diagnose.add_argument("--method", action="append", metavar="NAME", help="whose runs (default zopro)")
    diagnose.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds", help="seeds (default: all)")
    diagnose.add_argument("--draws", type=int, default=8, metavar="N", help="directions drawn a point (default 8)")
    diagnose.add_argument("--epsilon", type=float, default=0.0, metavar="X", help="size of the perturbation of every "
                          "candidate (default: Gaussian 0.01, ZOPrO as in its run)")
    diagnose.add_argument("--data", metavar="FOLDER", help="the data folder of runs on local files")
    diagnose.add_argument("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
                          help="folder of shared preparations (default results/cache)")
    diagnose.add_argument("--model", metavar="FOLDER", help="the model folder of runs that had one")
    diagnose.add_argument("--judge", metavar="FOLDER", help="the folder of their judging language model")
    diagnose.add_argument("--trust-remote-code", action="store_true", help="let a model run the code that it brings, "
                          "for runs that were made so; a result folder cannot ask for it")
    diagnose.set_defaults(command=command_diagnose)


def command_diagnose(options: argparse.Namespace) -> int:
    from benchmark.diagnose import Settings, write_diagnosis
    from benchmark.naming import load
    from benchmark.paths import own_folder
    from benchmark.revisit import finished_runs, with_models

    settings = Settings(draws=options.draws, epsilon=options.epsilon)
    methods = names(options.method or ["zopro"], list(METHODS), "method", method_groups())
    runs = finished_runs(options.folder, names(options.task, list(TASKS), "task"), methods,
                         seed_list(options.seeds) if options.seeds else None, options.trust_remote_code)
    runs = [(with_models(run, options.model, options.judge), store) for run, store in runs]
    make_folder(options.folder / "diagnose")
    titles = {name: load(target).title for name, target in TASKS.items()}
    out = own_folder(options.folder, "diagnose")
    for path in write_diagnosis(runs, out, options.cache, options.data, settings, titles, print):
        print(f"  {path}")
    return 0
