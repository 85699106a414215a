"""``run``: train and evaluate methods on tasks, then write tables and plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.commands.grid import add_grid_options, carry_out, exit_code, read_grid
from benchmark.commands.options import make_folder, names, seed_list
from benchmark.commands.report import show_report
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.plan.resolve import Config


def register(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="train and evaluate methods on tasks, then write tables and plots")
    add_grid_options(
        run, method="a method, or a group: main (default) or ablation; repeat, or separate by commas",
        seeds="seeds, separated by commas; 0-4 is a range (default 0)",
        out="result folder (default results/runs/PROFILE)",
        settings="any configuration field or hyperparameter, for example loop.iterations=2 or zopro.lr=0.1",
        dry_run="print runs, budgets and an estimate; run nothing")
    run.set_defaults(command=command_run)


def command_run(options: argparse.Namespace) -> int:
    from benchmark.plan.run import make_runs

    if not (options.all or options.task or options.method):
        raise ConfigError("run: say what to run: --all, or --task NAME and/or --method NAME (see `list`).")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    seeds = seed_list(options.seeds)
    config, sources = read_grid(options, methods)
    out = options.out or Path("results/runs") / config.profile
    runs = make_runs(config, sources, methods, seeds)
    if options.dry_run:
        from benchmark.grid.estimate import describe

        print(describe(runs, sources, out))
        return 0
    return run_grid(runs, config, out, options.cache)


def run_grid(runs: list, config: Config, out: Path, cache: Path) -> int:
    """Execute what is not finished yet, report, and return the exit code."""
    from benchmark.grid.jobs import jobs_for
    from benchmark.run.store import RunStore

    for folder in (out, cache):
        make_folder(folder)
    finished, damaged = [run for run in runs if RunStore(out / run.name).done], {}
    for run in finished:
        try:
            RunStore(out / run.name).summary()
            RunStore(out / run.name).tidy_finished()
        except BenchmarkError as error:  # named at the end; the others neither wait for it nor share a table with it
            damaged[run.name] = str(error)
    jobs = jobs_for((run for run in runs if run not in finished), out, cache)
    outcome = carry_out(jobs, config, len(finished) - len(damaged), len(runs))
    kept = [run.name for run in runs if RunStore(out / run.name).done and run.name not in damaged]
    if kept:
        show_report(out, kept)
    interrupted = f"{len(kept)} of {len(runs)} runs are finished and kept in {out};" if outcome.interrupted else ""
    return exit_code({**damaged, **outcome.failed}, interrupted)
