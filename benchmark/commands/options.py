"""What the commands share: names, seeds and folders as a user gives them."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import ConfigError
from benchmark.naming import check_name

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


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
    seeds: list[int] = []
    for part in ",".join(given or ["0"]).split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ConfigError(f"--seeds {part}: expected numbers such as 0,1,2 or a range such as 0-4.")
        seeds += range(int(first), int(last if dash else first) + 1)
    return list(dict.fromkeys(seeds))


def make_folder(folder: Path) -> None:
    """Create ``folder`` and make sure that it can be written; ConfigError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}). Pass another --out or --cache.") from None
