"""What ``run`` and ``tune`` share: their options, and how a grid is read, carried out and ended."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS
from benchmark.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, add_plugins, names
from benchmark.core import stopping
from benchmark.core.errors import ConfigError
from benchmark.core.paths import BUNDLED
from benchmark.core.sections import SFT, Budget
from benchmark.plan.resolve import Config, load_profile, with_assignments, with_user_values
from tasks import TASKS, WORLDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmark.grid.display import Display
    from benchmark.grid.executor import GridOutcome
    from benchmark.grid.jobs import Job
    from benchmark.plan.sources import TaskSource


def add_grid_options(parser: argparse.ArgumentParser, *, method: str, seeds: str, out: str, settings: str,
                     dry_run: str) -> None:
    """What a command that executes runs is asked for; the arguments are help for options that mean different things."""
    add = parser.add_argument
    add("--all", action="store_true", help="every main method on every bundled task (narrowed by the options below)")
    add("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    add("--method", action="append", metavar="NAME", help=method)
    add("--seed", "--seeds", action="append", metavar="N", dest="seeds", help=seeds)
    add("--profile", default="zo", metavar="NAME", help="smoke, zo (default), tiny, paper, or a TOML file")
    add("--data", metavar="FOLDER|hub", help="folder with the published raw files (task preferences: folder or file "
        "of your own), or hub (default: the bundled generators)")
    add("--budget", metavar="KIND=N", help="forward_tokens, seconds, completions or updates of every run")
    add("--model", metavar="NAME", help="folder, GGUF file or hub name of a causal language model")
    add("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    add("--workers", type=int, metavar="N", help="runs at the same time; 0 = in this process")
    add("--out", type=Path, metavar="DIR", help=out)
    add("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
        help="folder of shared preparations (default results/cache)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=settings)
    add("--dry-run", action="store_true", help=dry_run)
    add_plugins(parser)


def configure(options: argparse.Namespace, methods: list[str]) -> Config:
    """The configuration that the options of :func:`add_grid_options` ask for.

    A profile's base model knows the words of the bundled worlds only: with other rows a tiny Llama takes its place, and
    the defaults of SFT, which are for one that starts from random numbers, unless the user asks for something else.

    Args:
        methods: that a bare hyperparameter in ``--set`` is meant for.
    """
    config = load_profile(options.profile)
    if options.data == "hub":
        config = with_user_values(config, "data", {"source": "hub"}, "--data")
    elif options.data is not None:
        config = with_user_values(config, "data", {"source": "local", "folder": options.data}, "--data")
    if options.budget is not None:
        config = with_user_values(config, "budget", vars(Budget.parse(options.budget)), "--budget")
    if options.model is not None:
        config = with_user_values(config, "model", {"path": options.model}, "--model")
    if getattr(options, "engine", None) is not None:
        config = with_user_values(config, "engine", {"kind": options.engine}, "--engine")
    execution = {key: value for key in ("device", "workers") if (value := getattr(options, key)) is not None}
    config = with_user_values(config, "execution", execution, "--device/--workers")
    asked = with_assignments(config, options.assignments, methods)
    if asked.data.source != "bundled" and config.model.path == BUNDLED != options.model:
        for section, values in (("model", {"path": ""}), ("sft", vars(SFT()))):
            config = with_user_values(config, section, values, "--data")
        other = with_assignments(config, options.assignments, methods)
        asked = asked if other.model.path else other
    return asked


def read_grid(options: argparse.Namespace, methods: list[str]) -> tuple[Config, dict[str, TaskSource]]:
    """The configuration, on a device of this machine or, with an engine, of its nodes, and the rows of the tasks; what
    became of these is printed.

    Raises:
        BenchmarkError: no such device, a model that cannot be found, wrong rows.
    """
    from benchmark.lm.loading import device_of
    from benchmark.plan.sources import read_tasks
    from benchmark.start.check import check_model

    config = configure(options, methods)
    device = elsewhere(config) if config.engine.remote else str(device_of(config.execution))
    config = replace(config, execution=replace(config.execution, device=device))
    check_model(config)
    sources = read_tasks(config, names(options.task or list(WORLDS), list(TASKS), "task"))
    for task, source in sources.items():
        print(f"{task} ({source.data.source}, {source.data.revision}): {'; '.join(source.data.rows.lines())}")
    return config, sources


def elsewhere(config: Config) -> str:
    """The type of the device that an engine's nodes have; ``auto`` is a GPU where the engine is asked for one.

    Raises:
        ConfigError: it does not go with what the engine is asked for.
    """
    asked, gpus = config.execution.device, config.engine.gpus
    device = asked if asked != "auto" else "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {asked}: an engine chooses among the devices of its nodes. Say --device cuda.")
    if (device == "cuda") != bool(gpus):
        raise ConfigError(f"--device {asked} does not go with engine.gpus = {gpus:g}: "
                          f"{'ask the engine for a GPU, --set engine.gpus=1' if not gpus else 'say --device cuda'}.")
    return device


def carry_out(jobs: list[Job], config: Config, kept: int, total: int, split: str = "test",
              elsewhere: Callable[[list[Job], Display], GridOutcome] | None = None) -> GridOutcome:
    """Execute ``jobs`` before the user's eyes.

    Args:
        kept: runs of the ``total`` that are finished already.
        split: whose reward is shown.
        elsewhere: executes them by an engine.
    """
    from benchmark.grid.display import Display
    from benchmark.grid.executor import execute_jobs
    from benchmark.grid.launchers import local

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # several processes share the cores already
    if kept:
        print(f"{kept} of {total} runs are finished already and are kept")
    limit = config.budget.limit
    amount = f"{limit / 1e6:,.6g}M" if limit >= 1e6 else f"{limit:,.6g}"
    budget = f"{amount} {config.budget.kind.replace('_', ' ')} each"
    with Display(jobs, budget, split=split, workers=config.execution.workers) as display:
        if elsewhere is not None:
            return elsewhere(jobs, display)
        return execute_jobs(jobs, local(config.execution.workers), display)


def exit_code(failed: dict[str, str], interrupted: str) -> int:
    """Name on standard error what failed and why, and what stays of an ``interrupted`` grid; empty: it was not."""
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    if interrupted:
        by = f" by {number.name}" if (number := stopping.received()) else ""
        print(f"interrupted{by}: {interrupted} the same command goes on with the rest", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED if failed else 0


def trainable(methods: list[str], config: Config) -> list[str]:
    """Those of ``methods`` that can train what ``config.adapter`` says; the others are named on standard output.

    Raises:
        ConfigError: none of them can.
    """
    left = [name for name in methods if config.adapter.kind not in METHODS[name].kinds]
    why = "; ".join(f"{name} trains adapter.kind={' or '.join(METHODS[name].kinds)}" for name in left)
    if left and left == methods:
        raise ConfigError(f"no method is left for adapter.kind={config.adapter.kind}: {why}. Choose another profile, "
                          f"or say --set adapter.kind={METHODS[left[0]].kinds[-1]}.")
    if left:
        print(f"left out for adapter.kind={config.adapter.kind}: {why}")
    return [name for name in methods if name not in left]
