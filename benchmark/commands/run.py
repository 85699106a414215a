"""``run``: train and evaluate methods on tasks, then write tables and plots."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, make_folder, names, seed_list
from benchmark.commands.report import show_report
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.sections import Budget
from benchmark.plan.resolve import Config, load_profile, with_assignments, with_user_values
from tasks import TASKS


def register(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="train and evaluate methods on tasks, then write tables and plots")
    run.add_argument("--all", action="store_true", help="every main method on every task (narrowed by the options "
                     "below)")
    run.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    run.add_argument("--method", action="append", metavar="NAME", help="a method, or a group: main (default) or "
                     "ablation; repeat, or separate by commas")
    run.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds",
                     help="seeds, separated by commas; 0-4 is a range (default 0)")
    run.add_argument("--profile", default="tiny", metavar="NAME", help="smoke, tiny (default), paper, or a TOML file")
    run.add_argument("--data", metavar="FOLDER|hub", help="folder with the published raw files, or hub "
                     "(default: the bundled generators)")
    run.add_argument("--budget", metavar="KIND=N", help="forward_tokens, seconds, completions or updates of every run")
    run.add_argument("--model", metavar="NAME", help="folder or hub name of a causal language model")
    run.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    run.add_argument("--workers", type=int, metavar="N", help="runs at the same time; 0 = in this process")
    run.add_argument("--out", type=Path, metavar="DIR", help="result folder (default results/runs/PROFILE)")
    run.add_argument("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
                     help="folder of shared preparations (default results/cache)")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                     help="any configuration field or hyperparameter, for example loop.iterations=2 or zopro.lr=0.1")
    run.add_argument("--dry-run", action="store_true", help="print runs, budgets and an estimate; run nothing")
    run.set_defaults(command=command_run)


def configure(options: argparse.Namespace, methods: list[str]) -> Config:
    """The resolved configuration of a ``run`` command."""
    config = load_profile(options.profile)
    if options.data == "hub":
        config = with_user_values(config, "data", {"source": "hub"}, "--data")
    elif options.data is not None:
        config = with_user_values(config, "data", {"source": "local", "folder": options.data}, "--data")
    if options.budget is not None:
        config = with_user_values(config, "budget", vars(Budget.parse(options.budget)), "--budget")
    if options.model is not None:
        config = with_user_values(config, "model", {"path": options.model}, "--model")
    execution = {key: value for key in ("device", "workers") if (value := getattr(options, key)) is not None}
    config = with_user_values(config, "execution", execution, "--device/--workers")
    return with_assignments(config, options.assignments, methods)


def command_run(options: argparse.Namespace) -> int:
    from benchmark.plan.run import make_runs
    from benchmark.plan.sources import read_tasks

    if not (options.all or options.task or options.method):
        raise ConfigError("run: say what to run: --all, or --task NAME and/or --method NAME (see `list`).")
    tasks = names(options.task, list(TASKS), "task")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    seeds, config = seed_list(options.seeds), configure(options, methods)
    out = options.out or Path("results/runs") / config.profile
    from benchmark.lm.loading import device_of
    from benchmark.start.build import check_model

    config = replace(config, execution=replace(config.execution, device=str(device_of(config.execution))))
    check_model(config)
    sources = read_tasks(config, tasks)
    for task, source in sources.items():
        print(f"{task} ({source.data.source}, {source.data.revision}): {'; '.join(source.data.rows.lines())}")
    runs = make_runs(config, sources, methods, seeds)
    if options.dry_run:
        from benchmark.grid.estimate import describe

        print(describe(runs, sources, out))
        return 0
    return run_grid(runs, config, out, options.cache)


def run_grid(runs: list, config: Config, out: Path, cache: Path) -> int:
    """Execute what is not finished yet, report, and return the exit code."""
    from benchmark.grid.display import Display
    from benchmark.grid.executor import execute_jobs, jobs_for
    from benchmark.run.store import RunStore

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # several processes share the cores already
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
    if whole := len(finished) - len(damaged):
        print(f"{whole} of {len(runs)} runs are finished already and are kept")
    budget = f"{config.budget.limit:,.0f} {config.budget.kind.replace('_', ' ')}"
    with Display(len(jobs), budget) as display:
        outcome = execute_jobs(jobs, config.execution.workers, display)
    kept = [run.name for run in runs if RunStore(out / run.name).done and run.name not in damaged]
    if kept:
        show_report(out, kept)
    failed = {**damaged, **outcome.failed}
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    if outcome.interrupted:
        print(f"interrupted: {len(kept)} of {len(runs)} runs are finished and kept in {out}; the same command goes on "
              f"with the rest", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED if failed else 0
