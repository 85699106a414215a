"""``run``: train and evaluate methods on tasks, then write tables and plots."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS, method_groups
from benchmark.commands.grid import add_grid_options, carry_out, exit_code, read_grid, trainable
from benchmark.commands.options import EXIT_INTERRUPTED, make_folder, names, seed_list
from benchmark.commands.report import show_report, show_sweep
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.plan.resolve import Config

if TYPE_CHECKING:
    from benchmark.grid.display import Display
    from benchmark.grid.executor import GridOutcome
    from benchmark.grid.jobs import Job
    from benchmark.plan.run import Run
    from benchmark.plan.sources import TaskSource


def register(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="train and evaluate methods on tasks, then write tables and plots")
    add_grid_options(
        run, method="a method, or a group: main (default) or ablation; repeat, or separate by commas",
        seeds="seeds, separated by commas; 0-4 is a range (default 0)",
        out="result folder (default results/runs/PROFILE)",
        settings="any configuration field or hyperparameter, for example loop.iterations=2 or zopro.lr=0.1",
        dry_run="print runs, budgets and an estimate; run nothing")
    run.add_argument("--budgets", metavar="N,N,…", help="a sweep: everything at each of these budgets, such as "
                     "0.25M,1M,4M in the profile's unit, or KIND=N,N,…")
    run.add_argument("--dimensions", metavar="NAME,…", help="a sweep over what is trained: final-norm, norms, "
                     "lora-1-qv, lora-8, full; with --budgets, each at every budget")
    run.add_argument("--engine", metavar="NAME", help="where runs are carried out: local (default), slurm or ray; what "
                     "they ask for is the section engine of the configuration (docs/scaling.md)")
    run.add_argument("--detach", action="store_true", help="with --engine slurm: return when all is in the queue; the "
                     "same command looks on again, `status` and `cancel` take the --out folder")
    run.add_argument("--redo", action="store_true", help="repeat finished runs, and make again preparations, that "
                     "other code made; each is replaced when its repetition is finished")
    run.set_defaults(command=command_run)


def command_run(options: argparse.Namespace) -> int:
    from benchmark.plan.run import make_runs

    if not (options.all or options.task or options.method):
        raise ConfigError("run: say what to run: --all, or --task NAME and/or --method NAME (see `list`).")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    seeds = seed_list(options.seeds)
    config, sources = read_grid(options, methods)
    if options.budgets is not None or options.dimensions is not None:
        return run_sweep(options, config, sources, methods, seeds)
    if options.detach and config.engine.kind != "slurm":
        raise ConfigError("--detach: only --engine slurm goes on without the command. With Ray, have the cluster run "
                          "it: ray job submit --no-wait -- python -m benchmark run --engine ray …")
    out = options.out or Path("results/runs") / config.profile
    runs = make_runs(config, sources, trainable(methods, config), seeds)
    if options.dry_run:
        describe_grid(runs, sources, out)
        return 0
    from benchmark.studies.sweep.points import is_sweep

    if is_sweep(out):
        raise ConfigError(f"--out {out} holds a sweep. Pass another folder, or the sweep's --budgets and --dimensions.")
    return run_grid(runs, config, out, options.cache, options.redo, options.detach)[0]


def describe_grid(runs: list[Run], sources: dict[str, TaskSource], out: Path) -> None:
    """Print what would be done; no estimate for machines that this one cannot measure."""
    from benchmark.grid.estimate import describe

    if not (engine := runs[0].config.engine).remote:
        print(describe(runs, sources, out))
        return
    print(*(run.name for run in runs), sep="\n")
    print(f"{len(runs)} runs by {engine.kind}, {engine.bundle or 'all'} of a task and seed in a bundle that asks for "
          f"{engine.cpus} CPUs and {engine.gpus:g} GPUs, results in {out}; no estimate of other machines than this one")


def run_sweep(options: argparse.Namespace, config: Config, sources: dict[str, TaskSource], methods: list[str],
              seeds: list[int]) -> int:
    """One grid after the other, each in a folder of its own, then the report over all; the worst exit code."""
    from benchmark.plan.run import make_runs
    from benchmark.start.check import check_model
    from benchmark.studies.sweep import points

    if options.budget is not None and options.budgets is not None:
        raise ConfigError("--budget and --budgets: pass one of them. The unit can be given as --budgets KIND=N,N.")
    out = options.out or Path("results/runs") / f"{config.profile}-sweep"
    found = points.settings(config, options.budgets, options.dimensions)
    for _, varied in found:
        check_model(varied)
    grids = [(point.folder, varied, make_runs(varied, sources, trainable(methods, varied), seeds))
             for point, varied in found]
    if options.dry_run:
        for folder, _, runs in grids:
            describe_grid(runs, sources, out / folder)
            print()
        return 0
    make_folder(out)
    points.add(out, [point for point, _ in found])
    worst, kept = 0, {}
    for folder, varied, runs in grids:
        print(f"\n{folder}:")
        code, kept[folder] = run_grid(runs, varied, out / folder, options.cache, options.redo, options.detach)
        worst = max(worst, code)
        if code == EXIT_INTERRUPTED:
            return code
    if any(kept.values()):
        show_sweep(out, kept)
    return worst


def run_grid(runs: list[Run], config: Config, out: Path, cache: Path, redo: bool = False, detach: bool = False
             ) -> tuple[int, list[str]]:
    """Execute what is not finished yet and report; the exit code and the names of the finished runs.

    Args:
        redo: what other code made is repeated; else it is named.
        detach: with an engine, leave it alone with what is not finished.
    """
    from benchmark.grid import repeat
    from benchmark.grid.jobs import RunJob, jobs_for
    from benchmark.run.prepared import other_code, preparation_folder
    from benchmark.run.store import RunStore

    if redo and config.engine.remote:
        raise ConfigError(f"--redo repeats runs on this machine: leave out --engine {config.engine.kind}, or pass "
                          f"another --out.")
    for folder in (out, cache):
        make_folder(folder)
    for run in runs:  # what a command that was stopped had no time for
        repeat.settle(out, run.name)
    finished, damaged = [run for run in runs if RunStore(out / run.name).done], {}
    for run in finished:
        try:
            RunStore(out / run.name).summary()
            RunStore(out / run.name).tidy_finished()
        except BenchmarkError as error:  # named at the end; the others neither wait for it nor share a table with it
            damaged[run.name] = str(error)
    older = [run for run in finished if run.name not in damaged and RunStore(out / run.name).other_code]
    again = [run.name for run in older if redo]
    missing = [run for run in runs if run not in finished or run.name in again]
    starts = {folder.name: None for run in missing if (folder := preparation_folder(run, cache)).is_dir()
              and other_code(folder)}
    for line in (repeat.words("finished runs", [run.name for run in older], "repeated" if redo else
                              "kept as they are, --redo repeats them"),
                 repeat.words("preparations", list(starts), "made again" if redo else
                              "used as they are, --redo makes them again")):
        if line:
            print(line)
    jobs = jobs_for(missing, out, cache, lambda run, start, folder: RunJob(
        run, start, repeat.place(folder) if run.name in again else folder), redo)
    by_engine = partial(execute_by_engine, config, out, cache, detach) if config.engine.remote and jobs else None
    outcome = carry_out(jobs, config, len(finished) - len(damaged) - len(again), len(runs), elsewhere=by_engine)
    for name in again:
        repeat.settle(out, name)
    if detach and not outcome.interrupted:
        print(f"what is left of {len(runs)} runs is with {config.engine.kind}: the same command looks on; "
              f"`status {out}`, `cancel {out}`")
        return exit_code(damaged, ""), []
    kept = [run.name for run in runs if RunStore(out / run.name).done and run.name not in damaged]
    if kept:
        show_report(out, kept)
    interrupted = f"{len(kept)} of {len(runs)} runs are finished and kept in {out};" if outcome.interrupted else ""
    return exit_code({**damaged, **outcome.failed}, interrupted), kept


def execute_by_engine(config: Config, out: Path, cache: Path, detach: bool, jobs: list[Job], display: Display
                      ) -> GridOutcome:
    """Execute ``jobs`` by the engine of ``config``; what may be wrong with the folders is said first."""
    from benchmark.core.storage import cautions
    from benchmark.engines.available import engine_of
    from benchmark.engines.head import execute_elsewhere
    from benchmark.engines.queue import Ledger

    ledger, settings = Ledger(out), config.engine
    if ledger.entries and (ledger.kind, ledger.cluster) != (settings.kind, settings.cluster):
        raise ConfigError(f"--engine {settings.kind}: runs of {out} are with {ledger.kind} ({ledger.cluster}) already. "
                          f"Give the command that sent them, or `cancel {out}` first.")
    ledger.kind, ledger.cluster = settings.kind, settings.cluster
    if settings.cluster != "local":
        for caution in (caution for folder in (out, cache) for caution in cautions(folder)):
            display.caution(caution)
    return execute_elsewhere(jobs, engine_of(settings, out), ledger, cache, display, detach,
                             config.model.trust_remote_code)
