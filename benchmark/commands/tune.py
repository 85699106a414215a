"""``tune``: the same search for every method, by validation reward; its outcome is a file that profiles refer to."""

from __future__ import annotations

import argparse
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS, method_groups
from benchmark.commands.grid import add_grid_options, carry_out, exit_code, read_grid, trainable
from benchmark.commands.options import make_folder, names, seed_list, show_files, task_titles
from benchmark.core.errors import ConfigError
from benchmark.plan.resolve import PROFILES
from tasks import TASKS

if TYPE_CHECKING:
    from benchmark.studies.tuning.scores import Found
    from benchmark.studies.tuning.search import Search


def register(commands: argparse._SubParsersAction) -> None:
    tune = commands.add_parser("tune", help="search every method's hyperparameters with equal trials, budgets and rule")
    add_grid_options(
        tune, method="a method or group; repeat, or separate by commas (default main)",
        seeds="seeds of every trial, not 0-4 (default 100)",
        out="folder of runs and report (default results/runs/tuning/PROFILE)",
        settings="any configuration field, for example loop.iterations=2; no hyperparameters",
        dry_run="print stages, trials, runs and what they may spend; run nothing")
    add = tune.add_argument
    add("--trials", type=int, default=16, metavar="N", help="trials of each method and each warm start, the published "
        "setting included (default 16)")
    add("--share", type=share, default=1 / 3, metavar="X", help="share of the budget that a trial has (default 1/3)")
    add("--trial-task", action="append", metavar="NAME", help="a task on which the trials are run; repeat, or separate "
        "by commas (default all that are searched); the finals are on all")
    add("--finalists", type=int, default=4, metavar="N", help="of the best trials, run again at the whole budget "
        "(default 4)")
    add("--final-seeds", action="append", metavar="N", help="their seeds, not 0-4 (default 101-103)")
    add("--outcome", type=Path, metavar="FILE", help="TOML file for the outcome, every trial in a CSV beside it "
        "(default benchmark/plan/profiles/tuned/PROFILE.toml)")
    tune.set_defaults(command=command_tune)


def share(text: str) -> float:
    """A number or a fraction such as 1/3."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r}: a number or a fraction such as 1/3") from None


def command_tune(options: argparse.Namespace) -> int:
    if not (options.all or options.task or options.method):
        raise ConfigError("tune: say what to search: --all, or --task NAME and/or --method NAME (see `list`).")
    search = make_search(options, names(options.method or ["main"], list(METHODS), "method", method_groups()))
    profile = search.config.profile
    out = options.out or Path("results/runs/tuning") / profile
    path = options.outcome or PROFILES / "tuned" / f"{profile}.toml"
    if path.suffix != ".toml":
        raise ConfigError(f"--outcome {path}: expected the name of a .toml file.")
    from benchmark.studies.tuning import outcome
    from benchmark.studies.tuning.report import summary, write_report

    methods = [subject.method for subject in search.subjects]
    outcome.check_beside(outcome.read(path), search.settings(), methods, path)
    if options.dry_run:
        print(describe(search))
        return 0
    for folder in (out / "runs", options.cache, path.parent):
        make_folder(folder)
    found: list[Found] = []
    while True:  # each round tells what the next one needs: extensions, finals, what comes after a warm start
        cells, found = search.advance(out / "runs")
        if not cells:
            break
        if code := execute(search, cells, out, options.cache):
            return code
    new = outcome.outcome_of(found, search.settings(), search.commits(out / "runs"))
    existing = outcome.read(path)  # again: another search may have ended in the meantime
    outcome.check_beside(existing, search.settings(), methods, path)
    new = outcome.merge(existing, new, list(METHODS))
    written = outcome.write(path, new)
    written += write_report(new, out / "report", task_titles())
    print(summary(new))
    show_files(written)
    return 0


def make_search(options: argparse.Namespace, methods: list[str]) -> Search:
    """The search that the options describe, its data read; names that are not searched themselves are explained."""
    for assignment in options.assignments:
        if assignment.partition("=")[0].partition(".")[0] in METHODS:
            raise ConfigError(f"--set {assignment}: tune sets the hyperparameters itself, from published values "
                              f"and benchmark/studies/tuning/spaces; --set takes configuration fields only.")
    from benchmark.studies.tuning.search import Plan, Search
    from benchmark.studies.tuning.stages import searched_as

    plan = Plan(options.trials, tuple(seed_list(options.seeds or ["100"])), options.share, options.finalists,
                tuple(seed_list(options.final_seeds or ["101-103"])),
                tuple(names(options.trial_task, list(TASKS), "task")) if options.trial_task else ())
    config, sources = read_grid(options, [])
    search = Search(config, sources, trainable(methods, config), plan)
    for method in search.methods:
        own = searched_as(method, config.adapter.kind)
        if own != method:
            start = METHODS[method].start
            begun = f", and {start.name}'s warm start" if start else ""
            print(f"{method} has no search of its own: it takes the settings of {own or 'its publication'}{begun}")
    return search


def describe(search: Search) -> str:
    """The trials' hyperparameters, and how many runs there are of which budget."""
    plan, budget = search.plan, search.base.budget
    unit, lines, total = budget.kind.replace("_", " "), [], 0.0
    for subject in search.subjects:
        trials = search.first_trials(subject)
        lines += [f"{subject} trial {trial.number}: " + ", ".join(f"{k} = {v}" for k, v in trial.values.items())
                  for trial in trials]
    for subject in search.subjects:
        screened = plan.trials * len(plan.seeds) * len(search.trial_sources)
        finals = min(plan.finalists, plan.trials) * len(plan.final_seeds) * len(search.sources)
        each = [search.stage_config(subject, final).budget.limit for final in (False, True)]
        total += screened * each[0] + finals * each[1]
        lines.append(f"{subject}: {screened} runs of {each[0]:,.0f} {unit}, {finals} final runs of {each[1]:,.0f}"
                     f"{', shared by all that begin with it' if subject.warm else ''}")
    stages = Counter(subject.stage for subject in search.subjects)
    extension = plan.extra * len(plan.seeds) * len(search.trial_sources)
    return "\n".join([*lines, f"{stages['warm_start']} warm starts and {stages['method']} methods, {total:,.0f} {unit} "
                      f"in all; an edge at which a best trial lies adds {extension} runs, at most twice an edge"])


def execute(search: Search, cells: list, out: Path, cache: Path) -> int:
    """Execute what is not finished of ``cells``; 0, or the exit code of a search that is to be gone on with.

    Raises:
        ConfigError: a run has not come to its end all the same, so that nothing can be chosen.
    """
    from benchmark.studies.tuning.execution import TrialJob, jobs
    from benchmark.studies.tuning.search import refuse_unfinished

    todo, total = jobs(cells, out / "runs", cache), len({cell.run.name for cell in cells})
    kept = total - sum(isinstance(job, TrialJob) for job in todo)
    outcome = carry_out(todo, search.config, kept, total, split="validation")
    interrupted = f"nothing is chosen yet; finished runs are kept in {out}, and" if outcome.interrupted else ""
    code = exit_code(outcome.failed, interrupted)
    if outcome.interrupted:
        return code
    refuse_unfinished(cells, out / "runs")
    return 0
