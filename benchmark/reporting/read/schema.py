"""What the files of a finished run must look like before anything is computed from them: they may come from anywhere.

Metrics need no rule: what is no finite number counts as missing wherever one is read (``runs.number``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmark.core.errors import BenchmarkError
from benchmark.core.sections import SECTIONS

OBJECT, LIST, NUMBER, PLAIN = (dict,), (list,), (int, float), (int, float, str)
WORDS = {OBJECT: "an object", LIST: "a list", NUMBER: "a number below 10¹²", PLAIN: "a number or a text"}
# Place in the file → what stands there, if anything does; * is every key.
SHAPES = {
    "config.json": {
        "run": OBJECT, "run.budget": OBJECT, "config": OBJECT, "config.method": OBJECT, "config.method.*": PLAIN,
        "config.method.epochs": NUMBER,
        **{place: kind for section in SECTIONS
           for place, kind in ((f"config.{section}", OBJECT), (f"config.{section}.*", PLAIN))},
    },
    "environment.json": {
        "packages": OBJECT, "hardware": OBJECT, "model": OBJECT, "data": OBJECT, "data.rows": OBJECT,
        "data.prompts": OBJECT, "data.prompts.*": NUMBER, "data.pairs": NUMBER, "preparation": OBJECT,
        "preparation.judge": OBJECT, "preparation.judge.kind": PLAIN, "preparation.reward_accuracy": NUMBER,
        "preparation.held_out_pairs": NUMBER,
    },
    "summary.json": {
        "initial": OBJECT, "initial.*": OBJECT, "final": OBJECT, "final.*": OBJECT, "spent": OBJECT, "ledgers": OBJECT,
        "ledger_tokens": OBJECT, "peak_memory_mib": OBJECT, "health": OBJECT, "warnings": LIST, "resumed": OBJECT,
        "trained_parameters": NUMBER,
    },
    "curve.jsonl": {"spent": OBJECT, "metrics": OBJECT, "ledgers": OBJECT},
}
# What cannot be missing where the object that it belongs to is there.
NEEDED = {"preparation": ("reward_accuracy", "held_out_pairs", "judge"), "preparation.judge": ("kind",)}


def check(value: dict[str, Any], file: str, place: str) -> None:
    """Check the object read from ``file``.

    Args:
        place: how a message names it, for example ``RUN/curve.jsonl, line 3``.

    Raises:
        BenchmarkError: something else stands where an object, a list or a number belongs; names it.
    """
    for path, kinds in SHAPES[file].items():
        for name, found in _at(value, path.split(".")):
            if not isinstance(found, kinds) or (kinds is NUMBER and (isinstance(found, bool) or not abs(found) < 1e12)):
                raise BenchmarkError(f"{place}: {name} is not {WORDS[kinds]}. Remove that run directory and run it "
                                     f"again.")
            needed = NEEDED.get(name, ()) if found or name != "preparation" else ()  # an empty one is none
            gone = [key for key in needed if found.get(key) is None]
            if gone:
                raise BenchmarkError(f"{place}: {name} lacks {gone[0]}. Remove that run directory and run it again.")


def _at(value: Any, path: list[str], name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything that stands at ``path``, with its full name; what is absent or null is left out."""
    if value is None:
        return
    if not path:
        yield name, value
        return
    if isinstance(value, dict):
        keys = value if path[0] == "*" else [path[0]]
        for key in keys:
            yield from _at(value.get(key), path[1:], f"{name}.{key}".lstrip("."))
