"""``compare``: two result folders side by side, and which differences exceed the intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.registry import ORDER
from benchmark.commands.options import make_folder, show_files, task_titles
from benchmark.core.errors import ConfigError


def register(commands: argparse._SubParsersAction) -> None:
    compare = commands.add_parser("compare", help="two result folders side by side (two versions, two machines): which "
                                  "differences exceed the intervals")
    compare.add_argument("a", type=Path, metavar="A", help="folder of run directories")
    compare.add_argument("b", type=Path, metavar="B", help="folder held against it")
    compare.add_argument("--out", type=Path, default=Path("results/runs/comparison"), metavar="DIR",
                         help="where comparison.md, .csv, .tex, .png and .svg go (default results/runs/comparison)")
    compare.set_defaults(command=command_compare)


def command_compare(options: argparse.Namespace) -> int:
    for folder in (options.a, options.b):
        if not folder.is_dir():
            raise ConfigError(f"compare {folder}: no such folder. Pass the --out folders of two run commands.")
    from benchmark.reporting.pages import comparison as page
    from benchmark.reporting.tables import comparison

    result = comparison.compare(options.a, options.b, method_order=ORDER, task_titles=task_titles())
    make_folder(options.out)
    written = page.write(result, options.out)
    print(page.terminal(result))
    print("Comparison:")
    show_files(written)
    return 0
