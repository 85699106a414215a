"""``tune``: the same search for every method, by validation reward; its outcome is a file that profiles refer to."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import EXIT_INTERRUPTED, make_folder, names, seed_list
from benchmark.commands.run import configure
from benchmark.core.errors import ConfigError
from benchmark.core.naming import load
from benchmark.plan.resolve import PROFILES, Config
from tasks import TASKS

if TYPE_CHECKING:
    from benchmark.studies.tuning.search import Search


def register(commands: argparse._SubParsersAction) -> None:
    tune = commands.add_parser("tune", help="search every method's hyperparameters with equal trials, budgets and rule")
    tune.add_argument("--all", action="store_true", help="every main method on every task (narrowed by the options "
                      "below)")
    tune.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    tune.add_argument("--method", action="append", metavar="NAME", help="a method or group; repeat, or separate by "
                      "commas (default main)")
    tune.add_argument("--trials", type=int, default=8, metavar="N", help="trials of each method, the published "
                      "setting included (default 8)")
    tune.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds",
                      help="seeds of every trial, not 0-4 (default 100)")
    tune.add_argument("--profile", default="tiny", metavar="NAME", help="smoke, tiny (default), paper, or a TOML file")
    tune.add_argument("--data", metavar="FOLDER|hub", help="folder with the published raw files, or hub "
                      "(default: the bundled generators)")
    tune.add_argument("--budget", metavar="KIND=N", help="forward_tokens, seconds, completions or updates of every run")
    tune.add_argument("--model", metavar="NAME", help="folder or hub name of a causal language model")
    tune.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    tune.add_argument("--workers", type=int, metavar="N", help="runs at the same time; 0 = in this process")
    tune.add_argument("--out", type=Path, metavar="DIR", help="folder of runs and report (default "
                      "results/runs/tuning/PROFILE)")
    tune.add_argument("--outcome", type=Path, metavar="FILE", help="TOML file for the outcome, every trial in a CSV "
                      "beside it (default benchmark/plan/profiles/tuned/PROFILE.toml)")
    tune.add_argument("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
                      help="folder of shared preparations (default results/cache)")
    tune.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                      help="any configuration field, for example loop.iterations=2; no hyperparameters")
    tune.add_argument("--dry-run", action="store_true", help="print trials, runs and an estimate; run nothing")
    tune.set_defaults(command=command_tune)


def command_tune(options: argparse.Namespace) -> int:
    if not (options.all or options.task or options.method):
        raise ConfigError("tune: say what to search: --all, or --task NAME and/or --method NAME (see `list`).")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    tasks, seeds = names(options.task, list(TASKS), "task"), seed_list(options.seeds or ["100"])
    search = make_search(options, methods, tasks, seeds)
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
    if code := carry_out(search, out, options.cache):
        return code
    found = outcome.Outcome(search.settings(), tuple(search.commits(out / "runs")), search.searched(),
                            tuple(search.results(out / "runs")))
    existing = outcome.read(path)  # again: another search may have ended in the meantime
    outcome.check_beside(existing, search.settings(), methods, path)
    found = outcome.merge(existing, found, list(METHODS))
    written = outcome.write(path, found)
    written += write_report(found, out / "report", {task: load(TASKS[task]).title for task in found.settings["tasks"]})
    print(summary(found))
    for file in written:
        if file.suffix != ".svg":
            print(f"  {file}")
    return 0


def make_search(options: argparse.Namespace, methods: list[str], tasks: list[str], seeds: list[int]) -> Search:
    """The search that the options describe, its data read."""
    for assignment in options.assignments:
        if assignment.partition("=")[0].partition(".")[0] in METHODS:
            raise ConfigError(f"--set {assignment}: tune sets the hyperparameters itself, from published values "
                              f"and benchmark/studies/tuning/spaces; --set takes configuration fields only.")
    config: Config = configure(options, [])
    from benchmark.lm.loading import device_of
    from benchmark.plan.sources import read_tasks
    from benchmark.start.build import check_model
    from benchmark.studies.tuning.search import Search

    config = replace(config, execution=replace(config.execution, device=str(device_of(config.execution))))
    check_model(config)
    sources = read_tasks(config, tasks)
    for task, source in sources.items():
        print(f"{task} ({source.data.source}, {source.data.revision}): {'; '.join(source.data.rows.lines())}")
    return Search(config, sources, methods, seeds, options.trials)


def describe(search: Search, out: Path) -> str:
    """The trials' hyperparameters, the runs and an estimate of the time."""
    from benchmark.grid import estimate

    lines = [f"{method} trial {i}: " + ", ".join(f"{name} = {value}" for name, value in values.items())
             for method, trials in search.values.items() for i, values in enumerate(trials)]
    runs = {cell.run.name: cell.run for cell in search.cells}
    return "\n".join([*lines, estimate.describe(list(runs.values()), search.sources, out / "runs")])


def carry_out(search: Search, out: Path, cache: Path) -> int:
    """Execute what is not finished yet; 0, or the exit code of a search that is to be gone on with."""
    from benchmark.grid.display import Display
    from benchmark.grid.executor import execute_jobs
    from benchmark.studies.tuning.execution import TrialJob, jobs

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # several processes share the cores already
    todo, total = jobs(search.cells, out / "runs", cache), len({cell.run.name for cell in search.cells})
    if finished := total - sum(isinstance(job, TrialJob) for job in todo):
        print(f"{finished} of {total} runs are finished already and are kept")
    budget = search.config.budget
    title = f"{budget.limit:,.0f} {budget.kind.replace('_', ' ')}"
    with Display(len(todo), title, split="validation") as display:
        result = execute_jobs(todo, search.config.execution.workers, display)
    for name, reason in result.failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    if result.interrupted:
        print(f"interrupted: nothing is chosen yet; finished runs are kept in {out}, and the same command goes on with "
              f"the rest", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
