"""Tables of names: ``name -> "module:Attribute"``, resolved lazily so that listing them imports nothing heavy."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.core.errors import ConfigError


def check_name(name: str, known: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``known``.

    Raises:
        ConfigError: names the unknown ``what``, near matches, and all known names.
    """
    known = list(known)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigError(f"unknown {what} {name!r}.{hint} Known: {', '.join(known)}.")


def some_of(names: Sequence[str], most: int = 4) -> str:
    """``a, b, c, d and 3 more``: at most so many names of a list."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def load(target: str) -> Any:
    """Import ``"module:Attribute"`` and return the attribute."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
