"""Summarize-from-Feedback (Stiennon et al. 2020, arXiv:2009.01325; ``openai/summarize_from_feedback``).

Two summaries of one Reddit post (or, in the CNN/DM part, of one article) and the one that was preferred.
The prompt is laid out as in the original code: ``SUBREDDIT: r/...``, ``TITLE: ...``, ``POST: ...``, then
``TL;DR:``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tasks.adapter import TaskAdapter, clamped, numbered
from tasks.bundled import summarize_from_feedback as world
from tasks.examples import PreferenceExample, RawRow, RowRejected, text_of
from tasks.sources import choose_root, json_files, read_json_lines


class SummarizeFromFeedback(TaskAdapter):
    """Summaries of posts; the start of a long post matters most."""

    name = "summarize_from_feedback"
    title = "Summarize from Feedback"
    prompt_role = "Post"
    completion_role = "Summary"
    cue = "\n\nTL;DR:"
    truncation = "keep_start"
    metrics = ("rougeL",)
    hub_dataset = "openai/summarize_from_feedback"
    hub_config = "comparisons"
    hub_splits: ClassVar = {"train": "train", "validation": "held_out"}

    def local_rows(self, folder: Path) -> list[RawRow]:
        """Return the rows of ``comparisons/*.json(l)``; the field ``split`` says what is held out."""
        names = ("summarize_from_feedback/comparisons", "comparisons", "")
        root = choose_root(folder, names, ("*.json*",), "Summarize-from-Feedback comparisons (*.json)")
        rows = []
        for path in json_files(root, "*.json*"):
            for number, fields in read_json_lines(path, path.name):
                held_out = isinstance(fields.get("split"), str) and not fields["split"].startswith("train")
                rows.append(RawRow(path.name, number, "held_out" if held_out else "train", fields))
        return rows

    def bundled_rows(self, train: int, held_out: int, seed: int) -> list[RawRow]:
        """Return generated comparisons."""
        rows = list(numbered(world.rows("train", train, seed), "bundled/comparisons.json", "train"))
        return rows + list(numbered(world.rows("valid1", held_out, seed), "bundled/comparisons.json", "held_out"))

    def from_hub(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with ``summaries`` as a list of objects: the library may give columns instead."""
        out = dict(fields)
        summaries = out.get("summaries")
        if not isinstance(summaries, Mapping) or not all(isinstance(column, list) for column in summaries.values()):
            return out
        # Columns of unequal length stay as they are, to be rejected: cutting them would make a third summary vanish.
        if len({len(column) for column in summaries.values()}) == 1:
            out["summaries"] = [
                dict(zip(summaries, cells, strict=True)) for cells in zip(*summaries.values(), strict=True)
            ]
        return out

    def parse(self, row: RawRow, notes: Counter[str]) -> PreferenceExample:
        """Return the prompt and the two summaries, the chosen one first."""
        fields = row.fields
        split = fields.get("split", "train" if row.split == "train" else "valid1")
        if not isinstance(split, str) or not split.startswith(("train", "valid", "test")):
            raise RowRejected("split is unknown", "split", 'split must be "train", "valid1", "valid2" or "test"')
        prompt = self._prompt(fields.get("info"))
        texts = self._texts(fields.get("summaries"))
        choice = fields.get("choice")
        if choice is None:
            raise RowRejected("choice is missing", "choice", "give the index of the preferred summary, 0 or 1")
        if isinstance(choice, bool) or choice not in (0, 1):
            raise RowRejected("choice is not 0 or 1", "choice", "give the index of the preferred summary, 0 or 1")
        if texts[0] == texts[1]:
            raise RowRejected("both summaries are identical", "summaries", "remove the row: it prefers nothing")
        return PreferenceExample(prompt, texts[int(choice)], texts[1 - int(choice)])

    @staticmethod
    def _prompt(info: Any) -> str:
        if not isinstance(info, Mapping):
            raise RowRejected("info is missing", "info", "info must be an object with post (or article)")
        field = "article" if info.get("post") in (None, "") and info.get("article") else "post"
        lines = [f"POST: {text_of(info.get(field), f'info.{field}')}"]
        for key, form in (("title", "TITLE: {}"), ("subreddit", "SUBREDDIT: r/{}")):
            if info.get(key) not in (None, ""):
                lines.insert(0, form.format(text_of(info[key], f"info.{key}")))
        return "\n\n".join(lines)

    @staticmethod
    def _texts(summaries: Any) -> list[str]:
        if not isinstance(summaries, list) or len(summaries) != 2:
            raise RowRejected("summaries are not two", "summaries", "summaries must be a list of two objects")
        if not all(isinstance(summary, Mapping) for summary in summaries):
            raise RowRejected("a summary is not an object", "summaries", "each summary must be an object with text")
        return [text_of(summary.get("text"), f"summaries[{at}].text") for at, summary in enumerate(summaries)]

    def gold(self, prompt: str, completion: str) -> float:
        """Return how good a summary is in the bundled world."""
        return clamped(world.gold, prompt, completion)

    def reference(self, prompt: str) -> str:
        return world.reference(prompt)
