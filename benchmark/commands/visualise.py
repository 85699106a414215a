"""``visualise``: how policy and reward model moved relative to each other, from the adapters that runs kept."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import make_folder, names, seed_list
from benchmark.errors import ConfigError
from tasks import TASKS


def register(commands: argparse._SubParsersAction) -> None:
    visualise = commands.add_parser("visualise", help="policy–reward interplay: angles between the updates of policy "
                                    "and reward model against chance, and their trajectories")
    visualise.add_argument("folder", type=Path, metavar="DIR", help="a result folder whose runs kept their adapters")
    visualise.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    visualise.add_argument("--method", action="append", metavar="NAME", help="whose runs (default: all there are)")
    visualise.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds", help="seeds (default: all)")
    visualise.add_argument("--layer", default="all", metavar="all|N", help="all layers (default), one by its number, "
                           "or outside: what belongs to none")
    visualise.add_argument("--out", type=Path, metavar="DIR", help="where tables, figures and the page go (default "
                           "DIR/visualise, with --layer DIR/visualise/layer_N)")
    visualise.set_defaults(command=command_visualise)


def command_visualise(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        raise ConfigError(f"visualise {options.folder}: no such folder. Pass the --out folder of a run command.")
    from benchmark.interplay import visualise
    from benchmark.naming import load
    from benchmark.revisit import finished_runs

    layer = None if options.layer == "all" else options.layer
    if layer is not None and not re.fullmatch("[0-9]+|outside", layer):
        raise ConfigError(f"--layer {layer}: expected all, the number of a layer, or outside.")
    # No model is loaded here, so that no code of a model can run, whatever the run was allowed.
    runs = finished_runs(options.folder, names(options.task, list(TASKS), "task"),
                         names(options.method, list(METHODS), "method", method_groups()),
                         seed_list(options.seeds) if options.seeds else None, trust_remote_code=True)
    kept = [(run, store) for run, store in runs if (store.folder / "adapters" / "iteration_1").is_dir()]
    for run, _ in (item for item in runs if kept and item not in kept):
        print(f"left out: {run.name} has kept no adapters (execution.keep=curves), or diverged in its first iteration")
    titles = {name: load(target).title for name, target in TASKS.items()}
    for path in visualise(kept or runs, _folder(options, layer), titles, layer, print):
        if path.suffix != ".svg":
            print(f"  {path}")
    return 0


def _folder(options: argparse.Namespace, layer: str | None) -> Path:
    """Where the files go: ``--out``, else folders of ours in the result folder.

    Raises:
        BenchmarkError: it cannot be written, or one of ours is a link.
    """
    from benchmark.paths import own_folder

    out = options.out or options.folder
    for name in [] if options.out else ["visualise", *([f"layer_{layer}"] if layer else [])]:
        make_folder(out / name)
        out = own_folder(out, name)
    if options.out:
        make_folder(out)
    return out
