"""The base of every task adapter: raw rows of any source become one ``TaskData`` through one path.

An adapter knows its data set and nothing else. It says where rows are (``local_rows``, ``bundled_rows``,
``from_hub``) and what one row means (``parse``); reading, counting, limiting and splitting are here, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unicodedata import normalize

from benchmark.core.errors import ConfigError, DataError
from benchmark.core.naming import check_name
from tasks.examples import (
    SPLITS,
    PreferenceExample,
    Prompt,
    RawRow,
    RowLimits,
    RowRejected,
    RowReport,
    ScoredExample,
    TaskData,
    stable_number,
)
from tasks.sources import load_hub, rows_digest

__all__ = [
    "SOURCES", "SPLITS", "Examples", "PreferenceExample", "Prompt", "RawRow", "RowLimits", "RowRejected",
    "RowReport", "ScoredExample", "TaskAdapter", "TaskData", "stable_number",
]  # fmt: skip

SOURCES = ("bundled", "local", "hub")
BEYOND_LIMIT = "beyond the wanted number of rows"
SEEN_IN_TRAINING = "held-out prompt also in training"
SEEN_IN_VALIDATION = "test prompt also in validation"
REPEATED = "used rows say what an earlier row of their split said"


def prompt_key(prompt: str) -> str:
    """Return what makes two prompts the same: their words, whatever the white space, the case, and the way in which
    letters with accents are put together (Unicode's canonical caseless matching, D145)."""
    return normalize("NFC", normalize("NFD", " ".join(prompt.split())).casefold())


@dataclass
class Examples:
    """What the rows of one split give, before it is frozen into ``TaskData``."""

    preferences: list[PreferenceExample] = field(default_factory=list)
    scored: list[ScoredExample] = field(default_factory=list)
    demonstrations: list[tuple[str, str]] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)


class TaskAdapter:
    """Turns the rows of one data set into prompts, completions, preferences and scores.

    The text of a sequence is ``prompt + cue + " " + completion``, then the end-of-sequence token.
    ``truncation`` says which part of a prompt survives when it is too long (``"keep_start"`` or
    ``"keep_end"``); the cue is appended after that. ``metrics`` are names among ``rougeL``, ``chrf`` and
    ``bleu``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    version: str = "1.1"
    prompt_role: ClassVar[str]
    completion_role: ClassVar[str]
    cue: str
    truncation: str
    metrics: ClassVar[tuple[str, ...]] = ()
    pairings: ClassVar[tuple[str, ...]] = ("default",)

    hub_dataset: ClassVar[str]
    hub_config: ClassVar[str | None] = None
    hub_revision: ClassVar[str | None] = None
    hub_splits: ClassVar[Mapping[str, str]]

    default_rows: ClassVar[RowLimits] = RowLimits(train=4000, held_out=400)

    def take(self, settings: Any) -> None:
        """Be set as the section of the configuration with the task's name says, of tasks that have one."""
        raise NotImplementedError

    # What each task says about its data set.

    def local_rows(self, folder: Path) -> list[RawRow]:
        """Return every row under ``folder`` in the published layout; DataError if it cannot be read."""
        raise NotImplementedError

    def hub_rows(self) -> tuple[list[RawRow], str]:
        """Return every row of the data set on the hub, and its revision; DataError if it cannot be read."""
        loaded, revision = load_hub(self.hub_dataset, self.hub_config, self.hub_revision)
        missing = [name for name in self.hub_splits if name not in loaded]
        if "train" in missing or len(missing) == len(self.hub_splits):
            raise DataError(
                f"{self.hub_dataset} on the hub has splits {', '.join(loaded)}, not {', '.join(missing)}. "
                "The data set may have changed: pass --data FOLDER with the published files."
            )
        raw = [
            RawRow(f"{self.hub_dataset}:{name}", number, split, self.from_hub(fields))
            for name, split in self.hub_splits.items()
            for number, fields in enumerate(loaded.get(name, ()), start=1)
        ]
        return raw, revision or rows_digest([row.file, row.fields] for row in raw)

    def bundled_rows(self, train: int, held_out: int, seed: int) -> list[RawRow]:
        """Return generated rows in the published schema; the same for the same arguments, everywhere."""
        raise NotImplementedError

    def from_hub(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return one hub row in the published file schema."""
        return dict(fields)

    def parse(self, row: RawRow, notes: Counter[str]) -> Any:
        """Return the one example a row holds (it has a ``prompt``). Raises RowRejected if it holds none."""
        raise NotImplementedError

    def gold(self, prompt: str, completion: str) -> float:
        """Return the quality in [0, 1] of any completion of a bundled prompt, from the texts alone."""
        raise NotImplementedError

    def reference(self, prompt: str) -> str | None:
        """Return a best completion of a bundled prompt; ``None``: take what rows have, as elsewhere."""
        return None

    def build(self, parsed: Sequence[Any], split: str, seed: int, pairing: str, notes: Counter[str]) -> Examples:
        """Return the examples of one split. The default takes ``parsed`` as preferences as they are.

        A reference is the completion of a prompt that was chosen most often, the first of those.
        """
        wins: dict[str, Counter[str]] = {}
        for pair in parsed:
            wins.setdefault(pair.prompt, Counter())[pair.chosen] += 1
        return Examples(
            preferences=list(parsed),
            demonstrations=[(pair.prompt, pair.chosen) for pair in parsed],
            references={prompt: count.most_common(1)[0][0] for prompt, count in wins.items()},
        )

    # What all tasks share.

    def load(
        self,
        source: str,
        *,
        folder: str | Path | None = None,
        seed: int = 0,
        rows: RowLimits | Mapping[str, int | None] | Any = None,
        max_rejected: float = 0.05,
        pairing: str = "default",
    ) -> TaskData:
        """Return the task's data from ``source`` (``"bundled"``, ``"local"`` or ``"hub"``).

        Args:
            folder: for ``"local"``, a folder with the published files of this (and perhaps other) data sets.
            seed: seeds what is random: generated rows, degraded pairs, which rows a limit keeps.
            rows: ``train`` and ``held_out`` numbers of raw rows, as a mapping or attributes; ``None`` is all
            rows
                (bundled: ``default_rows``).
            max_rejected: share of malformed rows, in [0, 1], above which loading stops.
            pairing: one of the adapter's ``pairings``.

        Raises:
            ConfigError: an argument that cannot be used.
            DataError: the source cannot be read, or too many rows are malformed, or a split comes out empty.
        """
        check_name(source, SOURCES, "data source")
        check_name(pairing, self.pairings, f"pairing of {self.name}")
        if not 0 <= max_rejected <= 1:
            raise ConfigError(f"data.max_rejected = {max_rejected!r} is not a share: give a number from 0 to 1.")
        limits = _limits(rows)
        raw, revision = self._read(source, folder, limits, seed)
        wanted, rejected = _limit(raw, limits, seed)
        notes: Counter[str] = Counter()
        parsed = self._parse_all(wanted, rejected, notes, max_rejected)
        split = _divide(parsed, rejected)
        if repeated := sum(len(examples) - len(set(examples)) for examples in split.values()):
            notes[REPEATED] = repeated
        built = {name: self.build(split[name], name, seed, pairing, notes) for name in SPLITS}
        for name in SPLITS:
            if not built[name].references or (name == "train" and not built[name].preferences):
                raise DataError(
                    f"{self.name}: the {name} split is empty after reading {len(raw)} {source} rows "
                    f"({_counts(rejected)}). Ask for more rows (train and held-out), or check the files."
                )
        return TaskData(
            task=self.name,
            version=self.version,
            source=source,
            revision=revision,
            preferences={name: tuple(built[name].preferences) for name in SPLITS},
            scored={name: tuple(built[name].scored) for name in SPLITS},
            demonstrations=tuple(built["train"].demonstrations),
            prompts={
                name: tuple(Prompt(text, (source == "bundled" and self.reference(text)) or reference)
                            for text, reference in built[name].references.items())
                for name in SPLITS
            },
            rows=RowReport(len(raw), sum(map(len, split.values())), dict(rejected), dict(notes)),
            gold=self.gold if source == "bundled" else None,
        )

    def _read(self, source: str, folder: str | Path | None, limits: RowLimits, seed: int) -> tuple[list[RawRow], str]:
        if source == "hub":
            return self.hub_rows()
        if source == "local":
            if folder is None:
                raise ConfigError("local data needs a folder: pass --data FOLDER, or use the bundled rows.")
            raw = self.local_rows(Path(folder))
        else:
            default = self.default_rows
            raw = self.bundled_rows(limits.train or default.train or 0, limits.held_out or default.held_out or 0, seed)
        return raw, rows_digest([row.file, row.number, row.fields] for row in raw)

    def _parse_all(
        self, rows: Sequence[RawRow], rejected: Counter[str], notes: Counter[str], max_rejected: float
    ) -> list[tuple[str, Any]]:
        parsed: list[tuple[str, Any]] = []
        malformed: Counter[str] = Counter()
        first: dict[str, tuple[RawRow, RowRejected]] = {}
        for row in rows:
            try:
                parsed.append((row.split, self.parse(row, notes)))
            except RowRejected as error:
                malformed[error.reason] += 1
                first.setdefault(error.reason, (row, error))
        bad = sum(malformed.values())
        if bad > max_rejected * len(rows):
            row, why = first[malformed.most_common(1)[0][0]]
            raise DataError(
                f"{row.file}, row {row.number}, field {why.field}: {why.reason}; {why.remedy}. "
                f"In all {bad} of {len(rows)} rows cannot be used ({_counts(malformed)}), more than the "
                f"share of {max_rejected:g} that is allowed. Fix them, or raise --set data.max_rejected=..."
            )
        rejected.update(malformed)
        return parsed


def _counts(counter: Mapping[str, int]) -> str:
    return "; ".join(f"{reason}: {count}" for reason, count in counter.items()) or "none left out"


def _limits(rows: Any) -> RowLimits:
    if rows is None:
        return RowLimits()
    if isinstance(rows, Mapping):
        for key in rows:
            check_name(key, ("train", "held_out"), "number of rows")
        limits = RowLimits(**rows)
    else:
        limits = RowLimits(getattr(rows, "train", None), getattr(rows, "held_out", None))
    for name in ("train", "held_out"):
        value = getattr(limits, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"rows.{name} = {value!r}: give a whole number of at least 1, or none for every row.")
    return limits


def _limit(raw: Sequence[RawRow], limits: RowLimits, seed: int) -> tuple[list[RawRow], Counter[str]]:
    """Return at most the wanted rows and the count of the others.

    Which rows are kept depends on the seed and on each row's place alone, so a larger limit keeps a superset.
    """
    groups = ((("train",), limits.train), (("held_out", "validation", "test"), limits.held_out))
    kept: list[RawRow] = []
    for splits, limit in groups:
        group = [row for row in raw if row.split in splits]
        if limit is not None and limit < len(group):
            group.sort(key=lambda row: stable_number("limit", seed, row.file, row.number))
            group = group[:limit]
        kept += group
    left_out = len(raw) - len(kept)
    return kept, Counter({BEYOND_LIMIT: left_out} if left_out else {})


def _divide(parsed: Iterable[tuple[str, Any]], rejected: Counter[str]) -> dict[str, list[Any]]:
    """Return examples per split; a prompt is in one split only, and one seen in training stays in training.

    Held-out rows go to validation or test by a hash of the prompt, so the same prompt always goes the same
    way.
    """
    pools: dict[str, list[Any]] = {name: [] for name in SPLITS}
    for split, example in parsed:
        if split == "held_out":
            even = stable_number("held out", prompt_key(example.prompt)) % 2 == 0
            split = "validation" if even else "test"
        pools[split].append(example)
    seen: dict[str, str] = {}
    for split, reason in (("train", ""), ("validation", SEEN_IN_TRAINING), ("test", SEEN_IN_VALIDATION)):
        kept = []
        for example in pools[split]:
            before = seen.setdefault(prompt_key(example.prompt), split)
            if before == split:
                kept.append(example)
            else:
                rejected[SEEN_IN_TRAINING if before == "train" else reason] += 1
        pools[split] = kept
    return pools


def clamped(function: Callable[[str, str], float], prompt: str, completion: str) -> float:
    """Return ``function(prompt, completion)`` held to [0, 1]."""
    return min(1.0, max(0.0, float(function(prompt, completion))))


def numbered(rows: Iterable[dict[str, Any]], file: str, split: str) -> Iterator[RawRow]:
    """Yield generated rows as ``RawRow``, numbered from 1."""
    for number, fields in enumerate(rows, start=1):
        yield RawRow(file, number, split, fields)
