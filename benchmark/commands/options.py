"""What the commands share: names, seeds, folders and finished runs as a user gives them, files as they are shown."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.registry import METHODS, method_groups
from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name, load
from tasks import TASKS

if TYPE_CHECKING:
    from benchmark.plan.run import Run
    from benchmark.run.store import RunStore

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
MOST_SEEDS = 10_000
# How torchrun and accelerate, mpirun, and srun say to a process that it is one of several.
COPIES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
COPY = "SLURM_PROCID"  # its number; the number of tasks is that of the allocation, which one process may have to itself


def refuse_copies(environment: Mapping[str, str]) -> None:
    """ConfigError if a launcher has started this command several times: each copy would do all the work, and wait for
    the others' locks."""
    for name in COPIES:
        if (number := environment.get(name, "")).isdecimal() and int(number) > 1:
            raise ConfigError(f"{name}={number}: a launcher has started this command {number} times, and each copy "
                              f"would do the whole work. Start it once, without torchrun, accelerate launch or mpirun; "
                              f"--workers says how many runs are made at the same time.")
    if environment.get(COPY, "0") != "0":
        raise ConfigError(f"{COPY}={environment[COPY]}: srun has started this command several times, and each copy "
                          f"would do the whole work. Start it once: srun --ntasks=1.")


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
    seeds: list[range] = []
    for part in ",".join(given or ["0"]).split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_seed(first) or (dash and (not _is_seed(last) or int(last) < int(first))):
            raise ConfigError(f"--seeds {part}: expected numbers such as 0,1,2 or a range such as 0-4.")
        seeds.append(range(int(first), int(last if dash else first) + 1))
        if (count := sum(map(len, seeds))) > MOST_SEEDS:
            raise ConfigError(f"--seeds {part}: {count:,} seeds, each a run of every method and task; at most "
                              f"{MOST_SEEDS:,} at a time. A comparable table takes 5: --seeds 0-4.")
    return list(dict.fromkeys(itertools.chain.from_iterable(seeds)))


def _is_seed(text: str) -> bool:
    return text.isdecimal() and len(text) <= 18


def task_titles() -> dict[str, str]:
    """Name → title of every task."""
    return {name: load(target).title for name, target in TASKS.items()}


def show_files(paths: Iterable[Path]) -> None:
    """Name what was written; of a figure's two files the .png stands for both."""
    for path in paths:
        if path.suffix != ".svg":
            print(f"  {path}")


def check_folder(folder: Path, command: str) -> None:
    """ConfigError if ``folder`` is none."""
    if not folder.is_dir():
        raise ConfigError(f"{command} {folder}: no such folder. Pass the --out folder of a run command.")


def make_folder(folder: Path) -> None:
    """Create ``folder`` and make sure that it can be written; ConfigError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}). Pass another --out or --cache.") from None


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """--plugin, of commands that run methods or read their definitions; the command line loads them beforehand."""
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", dest="plugins", help="a Python file "
                        "that adds methods or tasks, beside those of installed packages (docs/plugins.md); repeatable")


def add_choice(parser: argparse.ArgumentParser, folder: str, methods: str) -> None:
    """DIR, --task, --method and --seed: which finished runs a command works on.

    Args:
        folder: help for DIR. methods: whose runs by default, for the help of --method.
    """
    parser.add_argument("folder", type=Path, metavar="DIR", help=folder)
    parser.add_argument("--task", action="append", metavar="NAME", help="a task; repeat, or separate by commas")
    parser.add_argument("--method", action="append", metavar="NAME", help=f"whose runs (default {methods})")
    parser.add_argument("--seed", "--seeds", action="append", metavar="N", dest="seeds", help="seeds (default: all)")
    add_plugins(parser)


def add_origin(parser: argparse.ArgumentParser, cache: str = "") -> None:
    """Where that from which runs started lies on this machine, for commands that load their models.

    Args:
        cache: what else the help of --cache says.
    """
    parser.add_argument("--data", metavar="FOLDER", help="the data folder (or file) of runs on local files")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), metavar="DIR",
                        help=f"folder of shared preparations (default results/cache){cache}")
    parser.add_argument("--model", metavar="FOLDER", help="the model folder of runs that had one")
    parser.add_argument("--judge", metavar="FOLDER", help="the folder of their judging language model")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a model run the code that it brings, "
                        "for runs that were made so; a result folder cannot ask for it")


def chosen_runs(options: argparse.Namespace, methods: list[str] | None = None, *,
                trust_remote_code: bool) -> list[tuple[Run, RunStore]]:
    """The finished runs that the options of :func:`add_choice` ask for; errors as for ``finished_runs``.

    Args:
        methods: whose runs if none are asked for; None = all.
        trust_remote_code: as for :func:`benchmark.plan.run.load_run`.
    """
    from benchmark.grid.finished import finished_runs

    return finished_runs(options.folder, names(options.task, list(TASKS), "task"),
                         names(options.method or methods, list(METHODS), "method", method_groups()),
                         seed_list(options.seeds) if options.seeds else None, trust_remote_code)
