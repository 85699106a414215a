"""``bench``: speed and memory of the methods beside floors and peers."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import add_plugins, make_folder, names


def register(commands: argparse._SubParsersAction) -> None:
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
    add_plugins(bench)
    bench.set_defaults(command=command_bench)


def command_bench(options: argparse.Namespace) -> int:
    from benchmark.studies.speed import driver, plan

    parts = names(options.what or list(plan.DEFAULT_PARTS), list(plan.PARTS), "part of the bench")
    methods = names(options.methods or ["main"], list(METHODS), "method", method_groups())
    threads = driver.cores() if options.threads is None else options.threads
    config = plan.configure(options.size, options.assignments, threads, options.device)
    if options.json:
        return driver.show(options.size, parts, methods, options.repeats, config)
    make_folder(options.out)
    return driver.write(options.size, parts, methods, options.repeats, config, options.out)
