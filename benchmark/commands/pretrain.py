"""``pretrain``: make the small base model that preparations with ``model.path = bundled`` start from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmark.commands.options import make_folder
from benchmark.core.errors import ConfigError


def register(commands: argparse._SubParsersAction) -> None:
    pretrain = commands.add_parser("pretrain", help="make the small base model of the bundled worlds' text anew; one "
                                   "comes with the suite")
    for name, what in (("seed", "of its text and weights, at least 1"), ("rows", "generated per world"),
                       ("steps", "optimiser steps")):
        pretrain.add_argument(f"--{name}", type=int, metavar="N", help=f"{what} (default: as for the one that comes "
                              "with the suite)")
    pretrain.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder; --model takes it")
    pretrain.set_defaults(command=command_pretrain)


def command_pretrain(options: argparse.Namespace) -> int:
    from benchmark.start.pretrain import Recipe, pretrain

    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ConfigError(f"pretrain --out {options.out}: there is something already. Pass a new folder, or remove it.")
    given = {name: value for name in ("seed", "rows", "steps") if (value := getattr(options, name)) is not None}
    for name, value in given.items():
        if value < 1:
            raise ConfigError(f"pretrain --{name} {value}: expected a whole number of at least 1.")
    make_folder(options.out)
    show = sys.stderr.isatty()

    def report(share: float) -> None:
        if show:
            print(f"\r{share:4.0%}", end="\n" if share == 1 else "", file=sys.stderr, flush=True)

    made = pretrain(options.out, Recipe(**given), report)
    print(f"{options.out}: {made['parameters']:,} parameters, {made['loss']:.3f} nats per token at the end")
    return 0
