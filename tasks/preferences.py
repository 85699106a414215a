"""Own data without code: pairs of completions, as the preference data sets of TRL and of the hub have them.

A row has ``chosen`` and ``rejected``, and a ``prompt`` or none; the names of the columns are settings
(``benchmark.core.sections.PreferencesSettings``). Each is a text or a list of messages ``{role, content}``:

- ``chosen`` and ``rejected`` are completions, texts or lists of one message of the assistant, to a given ``prompt``;
- they are whole conversations, as in UltraFeedback: what they have in common is the prompt;
- they are whole texts, without a ``prompt``: it ends at the last cue of their common beginning, or, if there is none,
  with the last word that they have in common.

A prompt of one message is its text; one of several has a line ``Role: text`` for each. A reply ends where its
conversation goes on: the policy writes one turn. Scores are put on the scale of those of the training rows (mean 0,
deviation 1), since the reward model learns from them beside its pairs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from benchmark.core import sections
from benchmark.core.errors import ConfigError, DataError
from tasks.adapter import Examples, TaskAdapter, prompt_key
from tasks.examples import (
    PreferenceExample,
    RawRow,
    RowRejected,
    ScoredExample,
    common_length,
    stable_number,
    text_of,
)
from tasks.formats import ENDINGS, EXTRA, data_files, read_rows, stem
from tasks.sources import digest, load_hub, rows_digest

ASSISTANT, SYSTEM = "assistant", "system"
IDENTICAL = "chosen and rejected are identical"
BEGINNINGS = {"validation": ("valid", "dev"), "test": ("test", "eval")}  # of names of files and splits


class Message(NamedTuple):
    role: str
    content: str


@dataclass(frozen=True)
class Scored(PreferenceExample):
    """A pair with the scores of its completions, where the row has them."""

    scores: tuple[float | None, float | None] = (None, None)


class Preferences(TaskAdapter):
    """Pairs of any origin."""

    name = "preferences"
    title = "Own preferences"
    prompt_role = "User"
    completion_role = "Assistant"

    def __init__(self) -> None:
        self.take(sections.PreferencesSettings())

    def take(self, settings: sections.PreferencesSettings) -> None:
        self.settings, self.cue, self.truncation = settings, settings.cue, settings.truncation
        usual = asdict(sections.PreferencesSettings())
        own = [f"{name} = {value!r}" for name, value in asdict(settings).items() if value != usual[name]]
        self.version = f"1.0+{digest(own)[:8]}" if own else "1.0"  # what rows are read as depends on them

    # Rows and splits

    def local_rows(self, folder: Path) -> list[RawRow]:
        """Return the rows of a file, or of all files of ``folder/preferences`` or ``folder``."""
        if not folder.exists():
            raise DataError(f"--data {folder}: no such file or folder. Pass one with {', '.join(ENDINGS[:4])} files.")
        files = [folder]
        if folder.is_dir():
            within = folder / self.name
            files = data_files(within if within.is_dir() else folder)
            if not files:
                raise DataError(f"--data {folder}: no file there ends in {', '.join(ENDINGS)}. Pass the folder, or the "
                                f"file, that holds the rows.")
        elif not folder.name.endswith(ENDINGS):
            raise DataError(f"--data {folder}: the format is known by the ending, one of {', '.join(ENDINGS)}. Rename "
                            f"the file.")
        split = self._splits([stem(path.name) for path in files])
        return self._divided([RawRow(path.name, number, split[stem(path.name)], fields) for path in files
                              if stem(path.name) in split for number, fields in read_rows(path, path.name)])

    def hub_rows(self) -> tuple[list[RawRow], str]:
        own = self.settings
        if not own.hub:
            raise ConfigError("--data hub: say which data set, --set preferences.hub=ORG/NAME.")
        loaded, revision = load_hub(own.hub, own.hub_subset or None, own.hub_revision or None)
        split = self._splits(list(loaded))
        raw = self._divided([RawRow(f"{own.hub}:{name}", number, split[name], dict(fields)) for name in loaded
                             if name in split for number, fields in enumerate(loaded[name], 1)])
        return raw, revision or rows_digest([row.file, row.fields] for row in raw)

    def bundled_rows(self, train: int, held_out: int, seed: int) -> list[RawRow]:
        raise ConfigError("the task preferences has no rows of its own: pass --data FILE or FOLDER, or --data hub with "
                          "--set preferences.hub=ORG/NAME.")

    def _splits(self, names: Sequence[str]) -> dict[str, str]:
        """Name of a file or hub split → split, of those that are used."""
        own = self.settings
        asked = {split: [part.strip() for part in text.split(",") if part.strip()] for split, text in (
            ("validation", own.validation), ("test", own.test), ("train", own.train))}
        for split, patterns in asked.items():
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise ConfigError(f"preferences.{split}: nothing is called {pattern}. There "
                                      f"are {', '.join(names)}.")
        found = {}
        for name in names:
            for split, patterns in asked.items():
                by_name = split == "train" or name.lower().startswith(BEGINNINGS[split])
                if any(fnmatchcase(name, pattern) for pattern in patterns) if patterns else by_name:
                    found[name] = split
                    break
        if "train" not in found.values():
            raise DataError(f"preferences: no training rows in {', '.join(names)}. Say which they are, --set "
                            f"preferences.train=NAME.")
        if len(set(found.values())) == 2:  # one kind of held-out rows is both validation and test
            found = {name: split if split == "train" else "held_out" for name, split in found.items()}
        return found

    def _divided(self, rows: list[RawRow]) -> list[RawRow]:
        """``rows``; if all are for training, those of some prompts held out."""
        if any(row.split != "train" for row in rows):
            return rows
        return [row if self._kept(row) else RawRow(row.file, row.number, "held_out", row.fields) for row in rows]

    def _kept(self, row: RawRow) -> bool:
        """Whether a row is for training, by a hash of its prompt; a row without one is, and counted there."""
        try:
            prompt = self.parse(row, Counter()).prompt
        except RowRejected:
            return True
        share = stable_number("preferences", self.settings.split_seed, prompt_key(prompt)) / 2**64
        return share >= self.settings.held_out_share

    # Rows and their meaning

    def parse(self, row: RawRow, notes: Counter[str]) -> Scored:
        """Return prompt, completions and scores of one row."""
        own, fields = self.settings, row.fields
        if EXTRA in fields:
            raise RowRejected("the row has more cells than the header", own.rejected, "put texts that hold a comma or "
                              "a line end in double quotes")
        chosen, rejected = (self._said(fields, column) for column in (own.chosen, own.rejected))
        given = None if fields.get(own.prompt) is None else self._said(fields, own.prompt)
        if chosen == rejected:
            raise RowRejected(IDENTICAL, own.rejected, "remove the row: it prefers nothing")
        if isinstance(chosen, str) and isinstance(rejected, str):
            prompt, replies = self._texts(given, chosen, rejected, fields)
        elif isinstance(chosen, list) and isinstance(rejected, list):
            prompt, replies = self._conversations(given, chosen, rejected, notes)
        else:
            raise RowRejected("chosen and rejected are of two kinds", own.rejected, "give two texts or two lists of "
                              "messages")
        if replies[0] == replies[1]:
            raise RowRejected(IDENTICAL, own.rejected, "remove the row: it prefers nothing")
        better, worse = (self._score(fields, column) for column in (own.score_chosen, own.score_rejected))
        if better is not None and worse is not None and better < worse:
            raise RowRejected("chosen has the lower score", own.score_chosen, "exchange the completions, or remove the "
                              "row")
        return Scored(prompt, replies[0], replies[1], (better, worse))

    def _texts(self, given: str | list[Message] | None, chosen: str, rejected: str,
               fields: Mapping[str, Any]) -> tuple[str, list[str]]:
        if given is not None:
            return written(given), [chosen, rejected]
        own, common = self.settings, chosen[: common_length(chosen, rejected)]
        end = common.rfind(own.cue)
        start = end + len(own.cue)
        if end < 0:
            end = start = max(common.rfind(space) for space in " \n\t")
        prompt = common[: max(end, 0)].strip()
        if not prompt:
            raise RowRejected("there is no prompt", own.prompt, f"name its column, --set preferences.prompt=..., among "
                              f"{', '.join(map(str, fields))[:200]}; or chosen and rejected must begin with it")
        return prompt, [text_of(text[start:], column) for text, column in
                        ((chosen, own.chosen), (rejected, own.rejected))]

    def _conversations(self, given: str | list[Message] | None, chosen: list[Message], rejected: list[Message],
                       notes: Counter[str]) -> tuple[str, list[str]]:
        own = self.settings
        common = chosen[: common_length(chosen, rejected)]
        if chosen[0].role == ASSISTANT == rejected[0].role:
            if given is None:
                raise RowRejected("there is no prompt", own.prompt, "name its column, --set preferences.prompt=...; or "
                                  "chosen and rejected must begin with it")
            start, prompt = 0, given
        else:
            start, prompt = len(common), common
            if not common:
                raise RowRejected("chosen and rejected share no message", own.rejected, "both must begin with the same "
                                  "prompt")
            begins = given == common[: len(given)] if isinstance(given, list) else given in {m.content for m in common}
            if given is not None and not begins:
                raise RowRejected("the prompt is not in what chosen and rejected have in common", own.prompt, "remove "
                                  "the column of prompts or the row")
        replies = []
        for messages, column in ((chosen, own.chosen), (rejected, own.rejected)):
            if start >= len(messages) or messages[start].role != ASSISTANT:
                raise RowRejected("no reply follows the prompt", column, "the first message that differs must be the "
                                  "assistant's")
            if len(messages) > start + 1:
                notes["replies cut at the next turn"] += 1
            replies.append(messages[start].content)
        return written(prompt), replies

    @staticmethod
    def _said(fields: Mapping[str, Any], column: str) -> str | list[Message]:
        """A text, or messages; RowRejected if it is neither."""
        value = fields.get(column)
        if not isinstance(value, list):
            return text_of(value, column)
        messages = []
        for message in value:
            if not isinstance(message, Mapping):
                raise RowRejected("a message is not an object", column, "give every message a role and a content")
            role = text_of(message.get("role"), f"{column}.role").lower()
            if role != SYSTEM or message.get("content"):  # empty ones are common
                messages.append(Message(role, text_of(message.get("content"), f"{column}.content")))
        if not messages:
            raise RowRejected(f"{column} is empty", column, "give it a message")
        return messages

    @staticmethod
    def _score(fields: Mapping[str, Any], column: str) -> float | None:
        value = fields.get(column)
        if value is None or value == "":
            return None
        try:
            number = math.inf if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.inf
        if math.isnan(number):  # as pandas writes what is missing
            return None
        if math.isinf(number):
            raise RowRejected("a score is not a number", column, f"give a number in {column}, or leave it empty")
        return number

    def build(self, parsed: Sequence[Scored], split: str, seed: int, pairing: str, notes: Counter[str]) -> Examples:
        """Return the pairs, and the scored completions, each once."""
        pairs = [PreferenceExample(row.prompt, row.chosen, row.rejected) for row in parsed]
        examples = super().build(pairs, split, seed, pairing, notes)
        scored = {(row.prompt, text): score for row in parsed
                  for text, score in zip((row.chosen, row.rejected), row.scores, strict=True) if score is not None}
        if split == "train":  # the first to be built
            self._mean, self._deviation = _scale(scored.values())
        examples.scored = [ScoredExample(*key, (score - self._mean) / self._deviation) for key, score in scored.items()]
        return examples


def _scale(scores: Iterable[float]) -> tuple[float, float]:
    """Mean and deviation; of none, or where all are equal, so that nothing is divided by 0."""
    values = list(scores)
    return (fmean(values), pstdev(values) or 1.0) if values else (0.0, 1.0)


def written(prompt: str | list[Message]) -> str:
    """A prompt as one text."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{role.capitalize()}: {content}" for role, content in prompt)
