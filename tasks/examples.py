"""The data types that pass between a task adapter and the harness: plain text, no tokens, no tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.core.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PreferenceExample:
    """One comparison: two completions of one prompt, the first preferred."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class ScoredExample:
    """One completion with a quality score (MLQE: ``z_mean``, standard deviations from the annotator mean)."""

    prompt: str
    completion: str
    score: float


@dataclass(frozen=True)
class Prompt:
    """A prompt to sample from, with the best completion the data shows for it."""

    text: str
    reference: str


@dataclass(frozen=True)
class RowLimits:
    """How many raw rows to use; ``None`` is every row (bundled: the adapter's default number)."""

    train: int | None = None
    held_out: int | None = None


@dataclass(frozen=True)
class RowReport:
    """What became of the raw rows.

    Attributes:
        read: rows read from the source.
        used: rows that gave at least one example.
        rejected: reason -> rows left out for it. ``read == used + sum(rejected.values())``.
        notes: further counts that are not left-out rows (pairs skipped, replies cut, ...).

    Raises:
        DataError: the counts do not add up.
    """

    read: int
    used: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        left_out = sum(self.rejected.values())
        if self.read != self.used + left_out:
            raise DataError(
                f"row counts do not add up: {self.read} read, {self.used} used and {left_out} left out "
                f"({dict(self.rejected)}). This is a fault in a task adapter: count every row exactly once."
            )

    def lines(self) -> list[str]:
        """Return the report as lines of text for a terminal."""
        out = [f"{self.read} rows read, {self.used} used"]
        out += [f"{count} left out: {reason}" for reason, count in sorted(self.rejected.items())]
        out += [f"{count} {note}" for note, count in sorted(self.notes.items())]
        return out


@dataclass(frozen=True)
class TaskData:
    """Everything a run needs from a data set.

    Attributes:
        task, version: name and version of the adapter.
        source: ``"bundled"``, ``"local"`` or ``"hub"``.
        revision: hub revision, or the first 16 hexadecimal digits of the SHA-256 of the raw rows.
        preferences, scored, prompts: per split (``"train"``, ``"validation"``, ``"test"``).
        demonstrations: ``(prompt, completion)`` for supervised fine-tuning; training rows only.
        rows: what became of the raw rows.
        gold: ``gold(prompt, completion) -> float`` in [0, 1] for any two texts, where quality is known
            (bundled rows); otherwise ``None``.
    """

    task: str
    version: str
    source: str
    revision: str
    preferences: Mapping[str, tuple[PreferenceExample, ...]]
    scored: Mapping[str, tuple[ScoredExample, ...]]
    demonstrations: tuple[tuple[str, str], ...]
    prompts: Mapping[str, tuple[Prompt, ...]]
    rows: RowReport
    gold: Callable[[str, str], float] | None = None


@dataclass(frozen=True)
class RawRow:
    """One row as published.

    Attributes:
        file: name for messages, relative to the data folder.
        number: line of the file, from 1 (in a TSV the header is row 1); hub and bundled: row from 1.
        split: ``"train"``, ``"validation"``, ``"test"``, or ``"held_out"`` (to be divided by the adapter).
        fields: the published fields.
    """

    file: str
    number: int
    split: str
    fields: dict[str, Any]


class RowRejected(Exception):
    """A row that cannot be used; caught and counted by the adapter."""

    def __init__(self, reason: str, field: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.field, self.remedy = reason, field, remedy


def common_length(one: Sequence[Any], two: Sequence[Any]) -> int:
    """Return how many characters (of texts) or items two sequences have in common at their start."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((at for at, (first, second) in pairs if first != second), min(len(one), len(two)))


def stable_number(*parts: Any) -> int:
    """Return a 64-bit number that depends on ``parts`` only: the same in every process, on every platform."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def text_of(value: Any, field: str) -> str:
    r"""Return ``value`` with line ends as ``\n`` and outer white space removed.

    Raises:
        RowRejected: not a string, empty, or not encodable as UTF-8 (a lone surrogate).
    """
    if value is None:
        raise RowRejected(f"{field} is missing", field, f"give the row a string in {field}")
    if not isinstance(value, str):
        raise RowRejected(f"{field} is not a string", field, f"{field} must be a string, got {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowRejected(f"{field} is not valid Unicode", field, "remove the lone surrogate") from None
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise RowRejected(f"{field} is empty", field, f"give the row a text in {field}")
    return text
