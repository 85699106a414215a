"""The command line: finds the command, carries it out, and turns what goes wrong into an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from benchmark import __version__
from benchmark.commands import (
    bench,
    check_submission,
    clean,
    compare,
    diagnose,
    export,
    fetch,
    listing,
    pretrain,
    report,
    run,
    status,
    tune,
    verify,
    visualise,
)
from benchmark.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, refuse_copies
from benchmark.core.errors import BenchmarkError
from benchmark.core.terminal import guarded

COMMANDS = (run, listing, status, clean, report, export, verify, compare, check_submission, visualise, diagnose, bench,
            tune, pretrain, fetch)
SCRIPT = "zo-benchmark"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code: 0 well, 1 a run failed, 2 the request cannot be carried out, 130 Ctrl-C."""
    options = parser().parse_args(arguments)
    with guarded():
        try:
            refuse_copies(os.environ)
            if "plugins" in options:
                from benchmark.plan.plugins import load_plugins

                load_plugins(options.plugins)
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
