"""HH-RLHF (Bai et al. 2022, arXiv:2204.05862; ``Anthropic/hh-rlhf``): which assistant reply is better.

A row holds two transcripts, ``chosen`` and ``rejected``, that begin alike. They are split at the last
``"\\n\\nAssistant:"`` of their common beginning: what is before it is the prompt, what follows are the
replies. A reply ends where its transcript goes on with another turn: the policy writes one turn, so later
turns (which answer texts that the policy never wrote) are cut, and counted in the notes.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from tasks.adapter import TaskAdapter, clamped, numbered
from tasks.bundled import hh_rlhf as world
from tasks.examples import PreferenceExample, RawRow, RowRejected, common_length, text_of
from tasks.sources import choose_root, json_files, read_json_lines, visible

ASSISTANT = "\n\nAssistant:"
NEXT_TURN = re.compile(r"\n\n(?:Human|Assistant):")


class HHRLHF(TaskAdapter):
    """Multi-turn dialogue; the end of a long prompt matters most."""

    name = "hh_rlhf"
    title = "HH-RLHF"
    prompt_role = "Human"
    completion_role = "Assistant"
    cue = ASSISTANT
    truncation = "keep_end"
    metrics = ()
    hub_dataset = "Anthropic/hh-rlhf"
    hub_splits: ClassVar = {"train": "train", "test": "held_out"}

    def local_rows(self, folder: Path) -> list[RawRow]:
        """Return the rows of every ``<subset>/{train,test}.jsonl(.gz)``; ``.jsonl`` wins over ``.gz``."""
        below = "" if visible(folder, "train.jsonl*") else "*/"
        patterns = (f"{below}train.jsonl*", f"{below}test.jsonl*")
        root = choose_root(folder, ("hh-rlhf", ""), patterns, "HH-RLHF (<subset>/train.jsonl.gz, test.jsonl.gz)")
        rows = []
        for stem, split in (("train", "train"), ("test", "held_out")):
            for path in json_files(root, f"{below}{stem}.jsonl*"):
                name = path.relative_to(root).as_posix()
                rows += [RawRow(name, number, split, fields) for number, fields in read_json_lines(path, name)]
        return rows

    def bundled_rows(self, train: int, held_out: int, seed: int) -> list[RawRow]:
        """Return generated dialogues."""
        rows = list(numbered(world.rows("train", train, seed), "bundled/train.jsonl", "train"))
        return rows + list(numbered(world.rows("test", held_out, seed), "bundled/test.jsonl", "held_out"))

    def parse(self, row: RawRow, notes: Counter[str]) -> PreferenceExample:
        """Return the prompt and the two replies of one row."""
        chosen, rejected = (self._transcript(row.fields, field) for field in ("chosen", "rejected"))
        start = chosen.rfind(ASSISTANT, 0, common_length(chosen, rejected))
        if start < 0:
            raise RowRejected(
                "chosen and rejected share no assistant turn",
                "rejected",
                'both transcripts must begin with the same "\\n\\nHuman: ...\\n\\nAssistant:"',
            )
        prompt = chosen[:start].strip()
        if not prompt:
            raise RowRejected("the prompt is empty", "chosen", "give it a turn before the assistant turn in common")
        replies = [self._reply(text[start + len(ASSISTANT) :], notes) for text in (chosen, rejected)]
        for field, reply in zip(("chosen", "rejected"), replies, strict=True):
            if not reply:
                raise RowRejected("the last reply is empty", field, "remove the row: nothing follows the last cue")
        if replies[0] == replies[1]:
            raise RowRejected("chosen and rejected are identical", "rejected", "remove the row: it prefers nothing")
        return PreferenceExample(prompt, *replies)

    @staticmethod
    def _transcript(fields: dict[str, Any], field: str) -> str:
        text_of(fields.get(field), field)
        # Not stripped: an empty last reply must keep its cue.
        text = fields[field].replace("\r\n", "\n").replace("\r", "\n")
        if ASSISTANT not in text:
            raise RowRejected(
                f"{field} has no assistant turn",
                field,
                'a transcript must have a turn "\\n\\nAssistant: ..."',
            )
        return text

    @staticmethod
    def _reply(text: str, notes: Counter[str]) -> str:
        turn = NEXT_TURN.search(text)
        if turn:
            notes["replies cut at the next turn"] += 1
            text = text[: turn.start()]
        return text.strip()

    def gold(self, prompt: str, completion: str) -> float:
        """Return how good a reply is in the bundled world."""
        return clamped(world.gold, prompt, completion)

    def reference(self, prompt: str) -> str:
        return world.reference(prompt)
