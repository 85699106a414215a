"""The command line: finds the command, carries it out, and turns what goes wrong into an exit code."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
from pathlib import Path

from benchmark import __version__
from benchmark.commands import (
    bench,
    cancel,
    check_submission,
    clean,
    compare,
    diagnose,
    doctor,
    export,
    fetch,
    listing,
    pretrain,
    push,
    report,
    run,
    status,
    tune,
    verify,
    visualise,
    work,
)
from benchmark.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, refuse_copies
from benchmark.core import stopping
from benchmark.core.errors import BenchmarkError
from benchmark.core.terminal import guarded

COMMANDS = (run, listing, status, clean, report, export, push, verify, compare, check_submission, visualise, diagnose,
            bench, tune, pretrain, fetch, cancel, doctor, work)
SCRIPT = "zo-benchmark"
# What torchrun and batch systems leave behind. Libraries would wait for other processes; here every job is alone.
DISTRIBUTED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR",
               "MASTER_PORT")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code: 0 well, 1 a run failed or its words could not be written, 2 the request
    cannot be carried out, 130 Ctrl-C, 128 + n signal n (see :mod:`benchmark.core.stopping`)."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a job's process that reads its script
        os._exit(stopping.EXIT_UNGUARDED)  # the server that forked it would make a 1 of SystemExit
    with guarded() as lost, stopping.watched(leave=stopping.ignored()):
        code = _carry_out(arguments)
    return code or EXIT_FAILED * bool(lost)


def _carry_out(arguments: list[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        refuse_copies(os.environ)
        for name in DISTRIBUTED:
            os.environ.pop(name, None)
        if "plugins" in options:
            from benchmark.plan.plugins import load_plugins

            load_plugins(options.plugins)
        code = options.command(options)
        return 128 + number if code == EXIT_INTERRUPTED and (number := stopping.received()) else code
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        number = stopping.received()
        print("\ninterrupted" + (f" by {number.name}" if number else ""), file=sys.stderr)
        return 128 + number if number else EXIT_INTERRUPTED
    except PermissionError as error:
        print(f"error: {error.filename}: cannot be used ({error.strerror}). Ask its owner for permission, or pass "
              f"another folder.", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of our output went away (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def parser() -> argparse.ArgumentParser:
    script = Path(sys.argv[0]).stem == SCRIPT
    root = argparse.ArgumentParser(
        prog=SCRIPT if script else "python -m benchmark",
        description="How much reward does each preference-optimisation method buy, and how fast, from the same start, "
                    "the same data and the same budget?")
    root.add_argument("--version", action="version", version=__version__)
    with contextlib.suppress(ImportError):  # the extra [completion]
        if script:  # a shell completes the words of a command, not of a module
            import shtab

            shtab.add_argument_to(root, "--print-completion", help="print the completions of a shell")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return root
