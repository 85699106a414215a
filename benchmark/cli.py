"""The command line: one thin function per command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.budget import Budget
from benchmark.config import SECTIONS, Config, load_profile, profiles, with_assignments, with_user_values
from benchmark.errors import BenchmarkError, ConfigError
from benchmark.naming import check_name
from tasks import TASKS

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code: 0 well, 1 a run failed, 2 the request cannot be carried out, 130 Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m benchmark", description="How much reward does each preference-optimisation method buy, and how "
        "fast, from the same start, the same data and the same budget?")
    commands = root.add_subparsers(metavar="COMMAND", required=True)

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

    listing = commands.add_parser("list", help="tasks, methods, profiles and configuration fields")
    listing.set_defaults(command=command_list)

    report = commands.add_parser("report", help="rebuild tables and plots of a result folder from its files")
    report.add_argument("folder", type=Path, metavar="DIR")
    report.set_defaults(command=command_report)

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
    diagnose.set_defaults(command=command_diagnose)

    bench = commands.add_parser("bench", help="speed and memory of the methods, beside what the hardware allows and "
                                "beside TRL; made-up models, no data")
    bench.add_argument("--what", action="append", metavar="NAME", help="methods, floors, peers, sweeps (default: all "
                       "but sweeps); repeat, or separate by commas")
    bench.add_argument("--method", "--methods", action="append", metavar="NAME", dest="methods",
                       help="methods or a group (default main)")
    bench.add_argument("--size", default="tiny", metavar="NAME", help="tiny (default) or 1b, for a GPU")
    bench.add_argument("--repeats", type=int, default=5, metavar="N", help="processes for every figure (default 5)")
    bench.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    bench.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    bench.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                       help="any configuration field or hyperparameter, for example hidden_size=64")
    bench.add_argument("--out", type=Path, default=Path("results/runs/bench"), metavar="DIR",
                       help="result folder (default results/runs/bench)")
    bench.add_argument("--json", action="store_true", help="print the figures as JSON and write nothing")
    bench.set_defaults(command=command_bench)
    return root


def names(given: list[str] | None, known: list[str], what: str,
          groups: dict[str, list[str]] | None = None) -> list[str]:
    """Comma-separated, repeated names → checked list in the table's order; all of them if none is given.

    Args:
        groups: names that stand for several.
    """
    groups = groups or {}
    wanted = {check_name(name.strip(), [*known, *groups], what) for item in given or known for name in item.split(",")}
    wanted = {name for each in wanted for name in groups.get(each, [each])}
    return [name for name in known if name in wanted]


def seed_list(given: list[str] | None) -> list[int]:
    """``["0-2,7"]`` → ``[0, 1, 2, 7]``; ConfigError if a part is not a whole number or a range."""
    seeds: list[int] = []
    for part in ",".join(given or ["0"]).split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ConfigError(f"--seeds {part}: expected numbers such as 0,1,2 or a range such as 0-4.")
        seeds += range(int(first), int(last if dash else first) + 1)
    return list(dict.fromkeys(seeds))


def configure(options: argparse.Namespace, methods: list[str]) -> Config:
    """The resolved configuration of a ``run`` command."""
    config = load_profile(options.profile)
    if options.data == "hub":
        config = with_user_values(config, "data", {"source": "hub"}, "--data")
    elif options.data is not None:
        config = with_user_values(config, "data", {"source": "local", "folder": options.data}, "--data")
    if options.budget is not None:
        budget = Budget.parse(options.budget)
        config = with_user_values(config, "budget", {"kind": budget.kind, "limit": budget.limit}, "--budget")
    if options.model is not None:
        config = with_user_values(config, "model", {"path": options.model}, "--model")
    execution = {key: value for key in ("device", "workers") if (value := getattr(options, key)) is not None}
    config = with_user_values(config, "execution", execution, "--device/--workers")
    return with_assignments(config, options.assignments, methods)


def command_run(options: argparse.Namespace) -> int:
    from benchmark.plan import make_runs, read_tasks

    if not (options.all or options.task or options.method):
        raise ConfigError("run: say what to run: --all, or --task NAME and/or --method NAME (see `list`).")
    tasks = names(options.task, list(TASKS), "task")
    methods = names(options.method or ["main"], list(METHODS), "method", method_groups())
    seeds, config = seed_list(options.seeds), configure(options, methods)
    out = options.out or Path("results/runs") / config.profile
    from benchmark.loading import check_model, device_of

    config = replace(config, execution=replace(config.execution, device=str(device_of(config.execution))))
    check_model(config)
    sources = read_tasks(config, tasks)
    for task, source in sources.items():
        print(f"{task} ({source.data.source}, {source.data.revision}): {'; '.join(source.data.rows.lines())}")
    runs = make_runs(config, sources, methods, seeds)
    if options.dry_run:
        from benchmark.estimate import describe

        print(describe(runs, sources, out))
        return 0
    return run_grid(runs, config, out, options.cache)


def run_grid(runs: list, config: Config, out: Path, cache: Path) -> int:
    """Execute what is not finished yet, report, and return the exit code."""
    from benchmark.display import Display
    from benchmark.executor import Preparation, RunJob, execute_jobs
    from benchmark.plan import cache_folder
    from benchmark.preparation import preparation_key
    from benchmark.store import RunStore

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # several processes share the cores already
    for folder in (out, cache):
        make_folder(folder)
    finished = [run for run in runs if RunStore(out / run.name).done]
    todo = [run for run in runs if run not in finished]
    preparations: dict[Path, Preparation] = {}
    jobs: list = []
    for run in todo:
        folder = cache_folder(cache, run.task, run.seed, preparation_key(run.config, run.task, run.seed, run.versions))
        if not (folder / "preparation.json").is_file() and folder not in preparations:
            preparations[folder] = Preparation(run.task, run.seed, folder, run.config)
        jobs.append(RunJob(run, folder, out))
    jobs = [*preparations.values(), *jobs]
    if finished:
        print(f"{len(finished)} of {len(runs)} runs are finished already and are kept")
    budget = f"{config.budget.limit:,.0f} {config.budget.kind.replace('_', ' ')}"
    with Display(len(jobs), budget) as display:
        outcome = execute_jobs(jobs, config.execution.workers, display)
    kept = [run.name for run in runs if RunStore(out / run.name).done]
    if kept:
        show_report(out, kept)
    for name, reason in outcome.failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    if outcome.interrupted:
        print(f"interrupted: {len(kept)} of {len(runs)} runs are finished and kept in {out}; the same command goes on "
              f"with the rest", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED if outcome.failed else 0


def make_folder(folder: Path) -> None:
    """Create ``folder`` and make sure that it can be written; ConfigError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}). Pass another --out or --cache.") from None


def show_report(out: Path, only: list[str] | None = None) -> None:
    """Write tables and plots of ``out`` (of the runs ``only``), print the table and name the files."""
    from benchmark.naming import load
    from benchmark.reporting import report

    titles = {name: load(target).title for name, target in TASKS.items()}
    result = report(out, method_order=list(METHODS), task_titles=titles, only=only)
    print(result.summary)
    for caution in result.cautions:
        print(f"note: {caution}")
    print(f"{result.used} runs reported, {result.ignored} unfinished or failed. Tables and plots:")
    for path in result.written:
        if path.suffix != ".svg":
            print(f"  {path}")


def command_report(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        raise ConfigError(f"report {options.folder}: no such folder. Pass the --out folder of a run command.")
    show_report(options.folder)
    return 0


def command_diagnose(options: argparse.Namespace) -> int:
    from benchmark.diagnose import Settings, write_diagnosis
    from benchmark.naming import load
    from benchmark.revisit import finished_runs

    settings = Settings(draws=options.draws, epsilon=options.epsilon)
    methods = names(options.method or ["zopro"], list(METHODS), "method", method_groups())
    runs = finished_runs(options.folder, names(options.task, list(TASKS), "task"), methods,
                         seed_list(options.seeds) if options.seeds else None)
    make_folder(options.folder / "diagnose")
    titles = {name: load(target).title for name, target in TASKS.items()}
    out = options.folder / "diagnose"
    for path in write_diagnosis(runs, out, options.cache, options.data, settings, titles, print):
        print(f"  {path}")
    return 0


def command_bench(options: argparse.Namespace) -> int:
    from benchmark.bench import driver, plan

    parts = names(options.what or list(plan.DEFAULT_PARTS), list(plan.PARTS), "part of the bench")
    methods = names(options.methods or ["main"], list(METHODS), "method", method_groups())
    threads = driver.cores() if options.threads is None else options.threads
    config = plan.configure(options.size, options.assignments, threads, options.device)
    if options.json:
        return driver.show(options.size, parts, methods, options.repeats, config)
    make_folder(options.out)
    return driver.write(options.size, parts, methods, options.repeats, config, options.out)


def command_list(options: argparse.Namespace) -> int:
    import dataclasses

    from benchmark.naming import load

    print("tasks")
    for name, target in TASKS.items():
        print(f"  {name:26} {load(target).title}")
    print("\nmethods (objective × estimator)")
    for name, method in METHODS.items():
        if method.group == "main":
            print(f"  {name:12} {method.objective + ' × ' + method.estimator:28} {method.summary}")
            values = method.resolved({})
            for key, spec in method.fields().items():
                print(f"      {key + ' = ' + str(values[key]):32} {spec.metadata['help']} [{spec.metadata['source']}]")
    print("\ncontrols (--method ablation); each takes all else from the method it is based on")
    for name, method in METHODS.items():
        if method.group == "ablation":
            changed = ", ".join(f"{key} = {value}" for key, value in method.defaults.items())
            print(f"  {name:24} {method.summary} ({method.base or 'no base'}{', ' if changed else ''}{changed})")
    print("\nprofiles")
    for name, head in profiles().items():
        print(f"  {name:12} {head}")
    print("\nconfiguration fields (--set section.field=value)")
    for section, cls in SECTIONS.items():
        for spec in dataclasses.fields(cls):
            print(f"  {section + '.' + spec.name + ' = ' + repr(spec.default):46} {spec.metadata['help']}")
    return 0
