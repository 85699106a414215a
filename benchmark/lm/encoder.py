"""Text to token ids and back: one place decides on BOS, cue, truncation, EOS and padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from benchmark.core.errors import ModelError
from benchmark.core.sections import Decoding
from benchmark.lm.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


REMEMBERED = 50_000  # texts whose ids are kept
WORD = "a"  # what a prompt may end with
MARK = "\ue000"  # of private use: in no template


def chat_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the tokenizer's chat template puts before a message of the user's, and after it, up to where the answer
    begins.

    Raises:
        ModelError: there is no template, or not one that has the message once and as it is.
    """
    if not tokenizer.chat_template:
        raise ModelError("decoding.template = chat, but the tokenizer has no chat template. Pass an instruct model, or "
                         "--set decoding.template=cue.")
    text = str(tokenizer.apply_chat_template([{"role": "user", "content": MARK}], tokenize=False,
                                             add_generation_prompt=True))
    before, *rest = text.split(MARK)
    if len(rest) != 1:
        raise ModelError(f"decoding.template = chat, but the tokenizer's chat template shows a message {len(rest)} "
                         f"times. Use --set decoding.template=cue.")
    return before, rest[0]


class Encoder:
    """Encodes prompts and completions of one task for one tokenizer.

    A full sequence is ``[BOS] body cue " " completion EOS``, or, with ``decoding.template = chat``, what the
    tokenizer's chat template makes of ``body cue`` as a message of the user's, then ``completion EOS``. The body is cut
    to the prompt limit on the side the task names; cue and template always survive. A completion longer than the limit
    is cut and then has no EOS. Cue and completion get the tokens that they have after what they follow: some tokenizers
    begin every text with a space of their own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, cue: str, truncation: str, decoding: Decoding):
        self.tokenizer, self.decoding, self.truncation = tokenizer, decoding, truncation
        self.pad, self.eos = tokenizer.pad_token_id, tokenizer.eos_token_id
        self._bos = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        self._known: dict[tuple[str, str], list[int]] = {}
        self._cue_text, self._cue, self._gap = cue, self._ids(cue, WORD), " "
        if decoding.template == "chat":  # the template has a BOS of its own, where there is one
            before, after = chat_pieces(tokenizer)
            self._bos = self._special(before)
            self._cue_text, self._cue, self._gap = cue + after, self._cue + self._special(after), ""

    def _ids(self, text: str, before: str = "") -> list[int]:
        """The tokens of ``text`` where it follows ``before``."""
        if (before, text) not in self._known:
            self._learn([text], before)
        return self._known[before, text]

    def _learn(self, texts: Iterable[str], before: str = "") -> None:
        """Ask the tokenizer once for all texts that it was not asked for yet: a prompt comes back in every pass."""
        new = [text for text in dict.fromkeys(texts) if (before, text) not in self._known]
        if len(self._known) + len(new) > REMEMBERED:
            self._known.clear()
        if not new:
            return
        for text, ids in zip(new, self._following(before, new), strict=True):
            # A token that spans the seam cannot be had, what is before it being read already: any word stands there.
            found = ids or self._following(WORD, [text])[0] or self._asked([text])[0]
            self._known[before, text] = found

    def _following(self, before: str, texts: list[str]) -> list[list[int] | None]:
        """The tokens of each text after ``before``; None where one spans the seam."""
        head, *rows = self._asked([before, *(before + text for text in texts)])
        size = len(head) if before else 0
        return [row[size:] if row[:size] == head[:size] else None for row in rows]

    def _special(self, text: str) -> list[int]:
        """The tokens of a piece of the chat template, special ones among them."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _asked(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def rows(self, rows: Sequence[tuple[str, str]], device: torch.device | str) -> Sequences:
        """Encode and pad (prompt body, completion) rows."""
        self._learn(body for body, _ in rows)
        self._learn((self._gap + text.strip() for _, text in rows), self._cue_text)
        return self.pad_rows([self.prompt(body) for body, _ in rows], [self.completion(text) for _, text in rows],
                             device)

    def fits(self, body: str) -> bool:
        """Whether the prompt is within the limit without truncation."""
        return len(self._bos) + len(self._ids(body)) + len(self._cue) <= self.decoding.max_prompt_tokens

    def prompt(self, body: str) -> list[int]:
        """Token ids of a prompt, at most ``decoding.max_prompt_tokens``."""
        ids = self._ids(body)
        room = max(1, self.decoding.max_prompt_tokens - len(self._bos) - len(self._cue))
        ids = ids[:room] if self.truncation == "keep_start" else ids[-room:]
        return self._bos + ids + self._cue

    def completion(self, text: str) -> list[int]:
        """Token ids of a completion with EOS, at most ``decoding.max_new_tokens``."""
        return [*self._ids(self._gap + text.strip(), self._cue_text), self.eos][: self.decoding.max_new_tokens]

    def alike(self, first: Sequence[str], second: Sequence[str]) -> list[bool]:
        """Whether the two completions of each pair are the same tokens once they are cut: then nothing tells them
        apart."""
        self._learn((" " + text.strip() for text in (*first, *second)), self._cue_text)
        return [self.completion(one) == self.completion(other) for one, other in zip(first, second, strict=True)]

    def text(self, completion_ids: list[int]) -> str:
        """The completion as text, specials removed, stripped."""
        return str(self.tokenizer.decode(completion_ids, skip_special_tokens=True)).strip()

    def texts(self, sequences: Sequences) -> list[str]:
        """The completion of every row as text."""
        masks = sequences.completion_mask.bool().cpu()
        return [self.text(row[mask].tolist()) for row, mask in zip(sequences.completion_ids.cpu(), masks, strict=True)]

    def pad_rows(self, prompts: list[list[int]], completions: list[list[int]], device: torch.device | str) -> Sequences:
        """Pad ids to a :class:`Sequences` of the longest prompt and completion."""
        width, length = max(map(len, prompts)), max([1, *map(len, completions)])
        sizes = [(width - len(prompt), length - len(said)) for prompt, said in zip(prompts, completions, strict=True)]
        ids = [[self.pad] * left + prompt + said + [self.pad] * right
               for (left, right), prompt, said in zip(sizes, prompts, completions, strict=True)]
        column = torch.arange(width + length)
        left, right = torch.tensor(sizes).unsqueeze(2).unbind(1)
        mask = (column >= left) & (column < width + length - right)
        return Sequences(torch.tensor(ids).to(device), mask.long().to(device), width)
