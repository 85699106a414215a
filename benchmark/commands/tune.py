"""``tune``: the same search for every method, by validation reward; its outcome is a file that profiles refer to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS, method_groups
from benchmark.commands.grid import add_grid_options, carry_out, exit_code, read_grid
from benchmark.commands.options import make_folder, names, seed_list, show_files, task_titles
from benchmark.core.errors import ConfigError
from benchmark.plan.resolve import PROFILES

if TYPE_CHECKING:
    from benchmark.studies.tuning.search import Search


def register(commands: argparse._SubParsersAction) -> None:
    tune = commands.add_parser("tune", help="search every method's hyperparameters with equal trials, budgets and rule")
    add_grid_options(
        tune, method="a method or group; repeat, or separate by commas (default main)",
        seeds="seeds of every trial, not 0-4 (default 100)",
        out="folder of runs and report (default results/runs/tuning/PROFILE)",
        settings="any configuration field, for example loop.iterations=2; no hyperparameters",
        dry_run="print trials, runs and an estimate; run nothing")
    tune.add_argument("--trials", type=int, default=8, metavar="N", help="trials of each method, the published "
                      "setting included (default 8)")
    tune.add_argument("--outcome", type=Path, metavar="FILE", help="TOML file for the outcome, every trial in a CSV "
                      "beside it (default benchmark/plan/profiles/tuned/PROFILE.toml)")
    tune.set_defaults(command=command_tune)


def command_tune(options: argparse.Namespace) -> int:
    if not (options.all or options.task or options.method):
        raise ConfigError("tune: say what to search: --all, or --task NAME and/or --method NAME (see `list`).")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    search = make_search(options, methods, seed_list(options.seeds or ["100"]))
    profile = search.config.profile
    out = options.out or Path("results/runs/tuning") / profile
    path = options.outcome or PROFILES / "tuned" / f"{profile}.toml"
    if path.suffix != ".toml":
        raise ConfigError(f"--outcome {path}: expected the name of a .toml file.")
    from benchmark.studies.tuning import outcome
    from benchmark.studies.tuning.report import summary, write_report

    existing = outcome.read(path)
    outcome.check_beside(existing, search.settings(), methods, path)
    if options.dry_run:
        print(describe(search, out))
        return 0
    for folder in (out / "runs", options.cache, path.parent):
        make_folder(folder)
    if code := execute(search, out, options.cache):
        return code
    found = outcome.Outcome(search.settings(), tuple(search.commits(out / "runs")), search.searched(),
                            tuple(search.results(out / "runs")))
    existing = outcome.read(path)  # again: another search may have ended in the meantime
    outcome.check_beside(existing, search.settings(), methods, path)
    found = outcome.merge(existing, found, list(METHODS))
    written = outcome.write(path, found)
    written += write_report(found, out / "report", task_titles())
    print(summary(found))
    show_files(written)
    return 0


def make_search(options: argparse.Namespace, methods: list[str], seeds: list[int]) -> Search:
    """The search that the options describe, its data read."""
    for assignment in options.assignments:
        if assignment.partition("=")[0].partition(".")[0] in METHODS:
            raise ConfigError(f"--set {assignment}: tune sets the hyperparameters itself, from published values "
                              f"and benchmark/studies/tuning/spaces; --set takes configuration fields only.")
    from benchmark.studies.tuning.search import Search

    config, sources = read_grid(options, [])
    return Search(config, sources, methods, seeds, options.trials)


def describe(search: Search, out: Path) -> str:
    """The trials' hyperparameters, the runs and an estimate of the time."""
    from benchmark.grid import estimate

    lines = [f"{method} trial {i}: " + ", ".join(f"{name} = {value}" for name, value in values.items())
             for method, trials in search.values.items() for i, values in enumerate(trials)]
    runs = {cell.run.name: cell.run for cell in search.cells}
    return "\n".join([*lines, estimate.describe(list(runs.values()), search.sources, out / "runs")])


def execute(search: Search, out: Path, cache: Path) -> int:
    """Execute what is not finished yet; 0, or the exit code of a search that is to be gone on with."""
    from benchmark.studies.tuning.execution import TrialJob, jobs

    todo, total = jobs(search.cells, out / "runs", cache), len({cell.run.name for cell in search.cells})
    kept = total - sum(isinstance(job, TrialJob) for job in todo)
    outcome = carry_out(todo, search.config, kept, total, split="validation")
    interrupted = f"nothing is chosen yet; finished runs are kept in {out}, and" if outcome.interrupted else ""
    code = exit_code(outcome.failed, interrupted)
    return code if outcome.interrupted else 0
