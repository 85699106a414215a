"""WMT20 quality estimation, English-German (MLQE, Fomicheva et al. 2020; ``wmt/wmt20_mlqe_task1``).

A row is a source, a machine translation and its human score. Every row is a scored example (``z_mean``).
Preferences, pairing ``default``: two translations of one source whose scores differ by ``MARGIN`` or more,
and a translation with ``z_mean`` of at least ``GOOD`` against a degraded one (see ``tasks.degrade``).
Pairing ``released``: the translation, whatever its score, against the English source copied.
Demonstrations: ``default`` translations with ``z_mean`` of at least ``GOOD``; ``released`` every translation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from benchmark.core.errors import DataError
from tasks.adapter import Examples, TaskAdapter, clamped, numbered
from tasks.bundled import wmt20_mlqe as world
from tasks.degrade import degrade
from tasks.examples import PreferenceExample, RawRow, RowRejected, ScoredExample, text_of
from tasks.sources import choose_root, read_lines, read_tsv, visible

COLUMNS = ("index", "original", "translation", "scores", "mean", "z_scores", "z_mean", "model_scores")
MARGIN = 0.5
GOOD = 0.0


class Wmt20Mlqe(TaskAdapter):
    """Translation of one sentence; the start of a long sentence matters most."""

    name = "wmt20_mlqe"
    title = "WMT20 MLQE en-de"
    prompt_role = "Original"
    completion_role = "Translation"
    cue = "\nGerman:"
    truncation = "keep_start"
    metrics = ("chrf", "bleu")
    pairings = ("default", "released")
    hub_dataset = "wmt/wmt20_mlqe_task1"
    hub_config = "en-de"
    hub_splits: ClassVar = {"train": "train", "validation": "validation", "test": "test"}

    def local_rows(self, folder: Path) -> list[RawRow]:
        """Return the rows of ``{train,dev,test20}.ende.df.short.tsv``; without test20, dev is divided. They lie in one
        folder, or, as in MLQE-PE, each in one of its own."""
        names = ("wmt20_mlqe_task1/en-de", "en-de", "")
        files = {stem: f"{stem}.ende.df.short.tsv" for stem in ("train", "dev", "test20")}
        if (apart := self._apart(folder, files)) is None:
            root = choose_root(folder, names, (files["train"], files["dev"]), "WMT20 MLQE en-de")
            apart = {stem: path for stem, name in files.items() if (path := root / name).exists()}
        splits = {"train": "train", "dev": "held_out"}
        if "test20" in apart:
            splits = {"train": "train", "dev": "validation", "test20": "test"}
            self._check_labelled(apart["test20"])
        needed = ("original", "translation", "z_mean")
        return [
            RawRow(files[stem], number, split, fields)
            for stem, split in splits.items()
            for number, fields in read_tsv(apart[stem], files[stem], needed)
        ]

    @staticmethod
    def _apart(folder: Path, files: Mapping[str, str]) -> dict[str, Path] | None:
        """The files below MLQE-PE's ``direct-assessments``; None where there are none."""
        below = ("direct-assessments", "data/direct-assessments", "*/direct-assessments", "*/data/direct-assessments")
        roots = {folder} if folder.name == below[0] else {path for name in below for path in visible(folder, name)}
        if not roots:
            return None
        found: dict[str, Path] = {}
        for stem, name in files.items():
            paths = [path for root in roots for path in visible(root, f"**/{name}")]
            if len(paths) > 1:
                raise DataError(f"{name} is there {len(paths)} times below {folder}. Leave the one that is meant.")
            if paths:
                found[stem] = paths[0]
        if lacking := [files[stem] for stem in ("train", "dev") if stem not in found]:
            raise DataError(f"{folder}: no {' and no '.join(lacking)} below direct-assessments. Unpack "
                            f"en-de-train.tar.gz and en-de-dev.tar.gz there.")
        return found

    @staticmethod
    def _check_labelled(path: Path) -> None:
        """DataError if the test file is the blind one, as it was published for the shared task."""
        _, header = next(read_lines(path, path.name))
        if "translation" in header and "z_mean" not in header:
            raise DataError(f"{path.name}, row 1: it has no column z_mean, so it is the blind test set of the shared "
                            f"task. Put the labelled one in its place, or remove it: dev is then divided into "
                            f"validation and test.")

    def bundled_rows(self, train: int, held_out: int, seed: int) -> list[RawRow]:
        """Return generated scored translations."""
        rows = list(numbered(world.rows("train", train, seed), "bundled/train.ende.df.short.tsv", "train"))
        return rows + list(numbered(world.rows("dev", held_out, seed), "bundled/dev.ende.df.short.tsv", "held_out"))

    def from_hub(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with the columns of the published TSV."""
        out = dict(fields)
        pair = out.get("translation")
        if isinstance(pair, Mapping):
            out["original"], out["translation"] = pair.get("en"), pair.get("de")
        return out

    def parse(self, row: RawRow, notes: Counter[str]) -> ScoredExample:
        """Return the prompt, the translation and its score."""
        fields = row.fields
        if "(extra)" in fields:
            raise RowRejected("too many fields", "model_scores", "remove the extra tab characters")
        original = text_of(fields.get("original"), "original")
        translation = text_of(fields.get("translation"), "translation")
        return ScoredExample(f"English: {original}", translation, self._score(fields.get("z_mean")))

    @staticmethod
    def _score(value: Any) -> float:
        if value is None:
            raise RowRejected("z_mean is missing", "z_mean", "give the row a number in z_mean")
        try:
            if isinstance(value, str) and ("_" in value or not value.isascii()):
                raise ValueError  # Python would read 1_5 and digits of other scripts
            score = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise RowRejected(
                "z_mean is not a number", "z_mean", f"z_mean must be a number, got {value!r:.40}"
            ) from None
        if not math.isfinite(score):
            raise RowRejected("z_mean is not a finite number", "z_mean", f"z_mean must be finite, got {value!r:.40}")
        return score

    def build(
        self, parsed: Sequence[ScoredExample], split: str, seed: int, pairing: str, notes: Counter[str]
    ) -> Examples:
        """Return scored examples, and the pairs and demonstrations that ``pairing`` makes of them."""
        out = Examples(scored=list(parsed))
        groups: dict[str, list[ScoredExample]] = {}
        for example in parsed:
            groups.setdefault(example.prompt, []).append(example)
        for prompt, group in groups.items():
            out.references[prompt] = max(group, key=lambda example: example.score).completion
        if pairing == "released":
            self._released(parsed, out, notes)
        else:
            self._default(parsed, groups, out, seed, notes)
        return out

    @staticmethod
    def _released(parsed: Sequence[ScoredExample], out: Examples, notes: Counter[str]) -> None:
        for example in parsed:
            source = example.prompt.removeprefix("English: ")
            out.demonstrations.append((example.prompt, example.completion))
            if source == example.completion:
                notes["translations equal to their source: no pair"] += 1
            else:
                out.preferences.append(PreferenceExample(example.prompt, example.completion, source))

    @staticmethod
    def _default(
        parsed: Sequence[ScoredExample],
        groups: Mapping[str, Sequence[ScoredExample]],
        out: Examples,
        seed: int,
        notes: Counter[str],
    ) -> None:
        for prompt, group in groups.items():
            for pair in combinations(group, 2):
                worse, better = sorted(pair, key=lambda example: example.score)
                if better.score - worse.score >= MARGIN and better.completion != worse.completion:
                    out.preferences.append(PreferenceExample(prompt, better.completion, worse.completion))
                    notes["pairs from scores"] += 1
        for at, example in enumerate(parsed):
            if example.score < GOOD:
                notes["translations scored too low for a degraded pair or a demonstration"] += 1
                continue
            out.demonstrations.append((example.prompt, example.completion))
            source = example.prompt.removeprefix("English: ")
            # Half the split away stands the translation of another sentence.
            other = parsed[(at + len(parsed) // 2) % len(parsed)]
            wrong = other.completion if other.prompt != example.prompt else ""
            degraded = degrade(example.completion, source, wrong, seed)
            if degraded is None:
                notes["translations too short to degrade"] += 1
            else:
                out.preferences.append(PreferenceExample(example.prompt, example.completion, degraded))
                notes["pairs from degraded translations"] += 1

    def gold(self, prompt: str, completion: str) -> float:
        """Return how good a translation is in the bundled world."""
        return clamped(world.gold, prompt, completion)

    def reference(self, prompt: str) -> str:
        return world.reference(prompt)
