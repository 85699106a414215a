"""``visualise``: how policy and reward model moved relative to each other, from the adapters that runs kept."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmark.commands.options import add_choice, check_folder, chosen_runs, make_folder, show_files, task_titles
from benchmark.core.errors import ConfigError


def register(commands: argparse._SubParsersAction) -> None:
    visualise = commands.add_parser("visualise", help="policy–reward interplay: angles between the updates of policy "
                                    "and reward model against chance, and their trajectories")
    add_choice(visualise, "a result folder whose runs kept their adapters", "all")
    visualise.add_argument("--layer", default="all", metavar="all|N", help="all layers (default), one by its number, "
                           "or outside: what belongs to none")
    visualise.add_argument("--out", type=Path, metavar="DIR", help="where tables, figures and the page go (default "
                           "DIR/visualise, with --layer DIR/visualise/layer_N)")
    visualise.set_defaults(command=command_visualise)


def command_visualise(options: argparse.Namespace) -> int:
    check_folder(options.folder, "visualise")
    from benchmark.studies.interplay import visualise

    layer = None if options.layer == "all" else options.layer
    if layer is not None and not re.fullmatch("[0-9]+|outside", layer):
        raise ConfigError(f"--layer {layer}: expected all, the number of a layer, or outside.")
    # No model is loaded here, so that no code of a model can run, whatever the run was allowed.
    runs = chosen_runs(options, trust_remote_code=True)
    kept = [(run, store) for run, store in runs if (store.folder / "adapters" / "iteration_1").is_dir()]
    for run, _ in (item for item in runs if kept and item not in kept):
        print(f"left out: {run.name} has kept no adapters (execution.keep=curves), or diverged in its first iteration")
    show_files(visualise(kept or runs, _folder(options, layer), task_titles(), layer, print))
    return 0


def _folder(options: argparse.Namespace, layer: str | None) -> Path:
    """Where the files go: ``--out``, else folders of ours in the result folder.

    Raises:
        BenchmarkError: it cannot be written, or one of ours is a link.
    """
    from benchmark.core.paths import own_folder

    if options.out:
        make_folder(options.out)
        return options.out
    out = options.folder
    for name in ("visualise", *([f"layer_{layer}"] if layer else [])):
        make_folder(out / name)
        out = own_folder(out, name)
    return out
