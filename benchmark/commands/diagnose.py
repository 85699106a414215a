"""``diagnose``: the estimators' directions against the back-propagated gradient."""

from __future__ import annotations

import argparse

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import (
    add_choice,
    add_origin,
    chosen_runs,
    make_folder,
    names,
    show_files,
    task_titles,
)
from benchmark.core.errors import ConfigError


def register(commands: argparse._SubParsersAction) -> None:
    diagnose = commands.add_parser("diagnose", help="direction quality: the estimators' directions against the "
                                   "back-propagated gradient, along finished runs")
    add_choice(diagnose, "a result folder whose runs kept their adapters", "zopro")
    diagnose.add_argument("--draws", type=int, default=8, metavar="N", help="directions drawn a point (default 8)")
    diagnose.add_argument("--epsilon", type=float, default=0.0, metavar="X", help="size of the perturbation of every "
                          "candidate (default: Gaussian 0.01, ZOPrO as in its run)")
    diagnose.add_argument("--candidate", action="append", metavar="NAME", help="further zeroth-order methods or a "
                          "group, whose directions are measured beside MeZO's and ZOPrO's")
    add_origin(diagnose)
    diagnose.set_defaults(command=command_diagnose)


def command_diagnose(options: argparse.Namespace) -> int:
    from benchmark.core.paths import own_folder
    from benchmark.grid.finished import with_models
    from benchmark.studies.directions import Settings, write_diagnosis

    candidates = names(options.candidate, list(METHODS), "method", method_groups()) if options.candidate else []
    if first := [name for name in candidates if not METHODS[name].zeroth_order]:
        raise ConfigError(f"diagnose: {first[0]} takes no direction from readings of its loss. Name zeroth-order "
                          f"methods as candidates.")
    if others := [name for name in candidates if not METHODS[name].directed]:
        print(f"left out, for their steps are no sums of directions: {', '.join(others)}")
    candidates = [name for name in candidates if name not in others]
    settings = Settings(draws=options.draws, epsilon=options.epsilon, candidates=tuple(candidates))
    runs = chosen_runs(options, ["zopro"], trust_remote_code=options.trust_remote_code)
    runs = [(with_models(run, options.model, options.judge), store) for run, store in runs]
    make_folder(options.folder / "diagnose")
    out = own_folder(options.folder, "diagnose")
    show_files(write_diagnosis(runs, out, options.cache, options.data, settings, task_titles(), print))
    return 0
