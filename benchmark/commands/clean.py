"""``clean``: removes what interrupted and failed runs left behind, and nothing else."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

LEFT_BEHIND = ("*.part", "checkpoints")  # in the folder of a finished run: half a file, states to go on from
PREPARATION = re.compile(r".+__s\d+__[0-9a-f]{12}(\.\d+)?\.part")  # in the making; any other *.part is not ours


def register(commands: argparse._SubParsersAction) -> None:
    clean = commands.add_parser("clean", help="remove what is unfinished in a result folder: interrupted and failed "
                                "runs, half-written files, checkpoints of finished runs")
    clean.add_argument("folder", type=Path, metavar="DIR", help="the --out or the --cache folder of a run command")
    clean.add_argument("--yes", action="store_true", help="remove without asking")
    clean.set_defaults(command=command_clean)


@dataclass(frozen=True)
class Removable:
    """Something to remove, why, and what it takes on the disk in bytes."""

    path: Path
    why: str
    size: int


def command_clean(options: argparse.Namespace) -> int:
    from benchmark.grid.status import UNFINISHED

    items = unfinished(options.folder)
    for item in items:
        print(f"  {_size(item.size):>9}  {item.path.relative_to(options.folder)}  ({item.why})")
    if not items:
        print(f"{options.folder}: nothing unfinished")
        return 0
    if any(item.why in (*UNFINISHED, "half-written") for item in items):
        print("What was interrupted or failed is taken up by the command that began it; once removed it begins anew.")
    total = _size(sum(item.size for item in items))
    if not options.yes and not _agreed(f"Remove these {len(items)} from {options.folder} ({total})? [y/N] "):
        print("nothing was removed")
        return 0
    kept = [item for item in items if not _remove(item)]
    for item in kept:
        print(f"kept {item.path.name}: a process is at work on it, or has finished it meanwhile")
    print(f"{len(items) - len(kept)} removed")
    return 0


def unfinished(out: Path) -> list[Removable]:
    """What can be removed from ``out``; nothing of a run that runs or is with an engine, no result of a finished one,
    nothing behind a link.

    Raises:
        ConfigError: no such folder.
    """
    from benchmark.core.locks import holder
    from benchmark.engines.queue import Ledger
    from benchmark.grid.status import FINISHED, UNFINISHED, run_folders, standing

    items, queued = [], Ledger(out).runs()
    for folder in run_folders(out):
        if folder.name in queued:
            continue
        run = standing(folder)
        if run.state in UNFINISHED and _is_a_run(folder):
            items.append(Removable(folder, run.state, _bytes(folder)))
        elif run.state in FINISHED and not holder(folder):
            left = sorted({path for pattern in LEFT_BEHIND for path in folder.glob(pattern)})
            items += [Removable(path, "left behind by a finished run", _bytes(path)) for path in left]
    for path in sorted(out.glob("*.part")):
        # A preparation in the making has the lock of the folder that it will be.
        if PREPARATION.fullmatch(path.name) and not path.is_symlink() and not holder(path.with_suffix("")):
            items.append(Removable(path, "half-written", _bytes(path)))
    return items


def _is_a_run(folder: Path) -> bool:
    """Whether a run wrote ``folder``: any folder may have a name like a run's."""
    return any((folder / name).is_file() for name in ("config.json", "error.json"))


def _bytes(path: Path) -> int:
    """Size of a file or of all files of a folder; links count as what they are."""
    total = path.lstat().st_size
    if path.is_dir() and not path.is_symlink():
        total = sum(Path(place, name).lstat().st_size for place, _, files in os.walk(path) for name in files)
    return total


def _size(size: float) -> str:
    """``1536`` → ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody there to ask
        print("(no answer: pass --yes to remove without asking)")
        return False


def _remove(item: Removable) -> bool:
    """Remove ``item``; False, and nothing is touched, if a process took it up meanwhile."""
    from benchmark.core.errors import Busy
    from benchmark.core.files import writing
    from benchmark.core.locks import locked
    from benchmark.grid.status import UNFINISHED

    folder = item.path.with_suffix("") if item.why == "half-written" else item.path
    try:
        with (locked(folder if item.why in (*UNFINISHED, "half-written") else item.path.parent, patience=0),
              writing(item.path)):
            # With the lock in our hands nothing runs there; asked again, since a run may have finished.
            if item.why in UNFINISHED and (item.path / "summary.json").exists():
                return False
            if item.path.is_dir() and not item.path.is_symlink():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
    except Busy:
        return False
    return True
