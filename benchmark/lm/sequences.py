"""Sequences of token ids, and the layout in which rows that share a prompt are read once.

In the packed layout a row holds one prompt and after it its completions, slot by slot, those that are the same only
once. A completion sees its prompt and itself; the attention mask hides the other slots. Keys that are hidden weigh
exactly zero, so that every hidden state is what it is in the plain layout, to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

MUCH_PADDING = 0.2  # share of a batch


@dataclass(frozen=True)
class Sequences:
    """B token sequences, each a left-padded prompt followed by a right-padded completion.

    Attributes:
        ids: (B, P + R) token ids.
        mask: (B, P + R), 1 on prompt and completion tokens (the completion's EOS included), 0 on padding.
        prompt_length: P, the same for all rows.
        known: of rows that are kept to be read again, reader → what every reading of them has in common.
        apart: whether every row is read by itself, also one that shares its prompt with others.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    prompt_length: int
    known: dict[object, Any] | None = None
    apart: bool = False

    def kept(self) -> Sequences:
        """These rows, to be read again."""
        return self if self.known is not None else replace(self, known={})

    @property
    def completion_ids(self) -> torch.Tensor:
        """(B, R)."""
        return self.ids[:, self.prompt_length:]

    @property
    def completion_mask(self) -> torch.Tensor:
        """(B, R)."""
        return self.mask[:, self.prompt_length:]

    @cached_property
    def packed(self) -> Packed | None:
        """The same rows with every distinct prompt once; ``None`` where that saves nothing."""
        return None if self.apart else pack(self)

    @cached_property
    def _cuts(self) -> dict[int, list[tuple[torch.Tensor, Sequences]]]:
        return {}

    def cut(self, batch: int) -> list[tuple[torch.Tensor, Sequences]]:
        """Row numbers and rows of parts of at most ``batch``, each trimmed to its own length.

        Where much of the batch is padding, prompts of like length go together, in smaller parts; prompts of one length
        stay in order, so that rows that share one stay together.
        """
        if batch not in self._cuts:
            lengths = self.mask[:, : self.prompt_length].sum(1)
            padding = (lengths.max() - lengths).sum() / self.ids.numel()
            uneven = bool(padding > MUCH_PADDING)
            size, order = max(1, batch // 4) if uneven else batch, torch.arange(len(self), device=self.ids.device)
            if uneven and len(self) > size:  # what stays one part stays in order
                order = lengths.argsort(stable=True)
            parts = order.split(size)
            cut = [(order, self)] if len(parts) == 1 else [(rows, self.select(rows)) for rows in parts]
            self._cuts[batch] = cut if self.known is None else [(rows, part.kept()) for rows, part in cut]
        return self._cuts[batch]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: torch.Tensor | slice, trim: bool = True) -> Sequences:
        """Some of the rows; ``trim`` removes columns that are padding in all of them."""
        ids, mask, prompt = self.ids[rows], self.mask[rows], self.prompt_length
        if not trim:
            return Sequences(ids, mask, prompt, apart=self.apart)
        used = mask.any(0).nonzero()
        first, last = min(int(used[0]), prompt - 1), max(int(used[-1]) + 1, prompt + 1)
        return Sequences(ids[:, first:last], mask[:, first:last], prompt - first, apart=self.apart)


def chunks(length: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``range(length)``."""
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


def _pad_stack(tensors: list[torch.Tensor], value: float) -> torch.Tensor:
    """Concatenate (b, r) tensors along rows, padded on the right to the longest r."""
    width = max(t.shape[1] for t in tensors)
    return torch.cat([nn.functional.pad(t, (0, width - t.shape[1]), value=value) for t in tensors])


def join(parts: list[Sequences], pad: int = 0) -> Sequences:
    """Stack sequences of different prompt and completion widths; ``pad`` fills what the mask hides."""
    width = max(p.prompt_length for p in parts)

    def widen(tensor: torch.Tensor, part: Sequences, value: int) -> torch.Tensor:
        return nn.functional.pad(tensor, (width - part.prompt_length, 0), value=value)

    return Sequences(_pad_stack([widen(p.ids, p, pad) for p in parts], pad),
                     _pad_stack([widen(p.mask, p, 0) for p in parts], 0), width, apart=parts[0].apart)


@dataclass(frozen=True)
class Packed:
    """B sequences as U rows of one prompt and c slots: (U, P + c·R) with U ≤ B.

    Attributes:
        ids, positions: (U, L) token ids and position ids, L = P + c·R.
        mask: (U, 1, L, L), True where a query (third axis) may look at a key (fourth).
        prompt_length, slots: P and c.
        prompt_of: (B,) row of each sequence's prompt.
        place: (B,) its slot, counted over all rows: row · c + slot.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    prompt_length: int
    slots: int
    prompt_of: torch.Tensor
    place: torch.Tensor

    def completions(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (U, L, H) → (B, 1 + R, H): at the prompt's last token and at each completion token."""
        prompt, size = self.prompt_length, hidden.shape[2]
        slots = hidden[:, prompt:].reshape(len(hidden) * self.slots, -1, size)
        return torch.cat([hidden[self.prompt_of, prompt - 1].unsqueeze(1), slots[self.place]], 1)


def pack(sequences: Sequences) -> Packed | None:
    """The packed layout, or ``None`` where it holds no fewer tokens than the plain one."""
    prompt, mask = sequences.prompt_length, sequences.mask.bool()
    device, width = mask.device, mask.shape[1] - prompt
    text = torch.where(mask, sequences.ids, -1)  # padding counts as padding, whatever its id
    prompts: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}  # prompt → its completions → their slots
    number: dict[tuple[int, ...], int] = {}
    where = []  # (prompt's number, slot) of every row
    for words in text.tolist():
        head, tail = tuple(words[:prompt]), tuple(words[prompt:])
        own = prompts.setdefault(head, {})
        where.append((number.setdefault(head, len(number)), own.setdefault(tail, len(own))))
    slots = max(map(len, prompts.values()))
    if len(prompts) * (prompt + slots * width) >= len(text) * (prompt + width):
        return None
    prompt_of, slot = torch.tensor(where, device=device).unbind(1)
    place = prompt_of * slots + slot
    heads = text.new_tensor(list(prompts))
    tails = text.new_full((len(prompts) * slots, width), -1)  # a prompt may have fewer completions than the others
    tails[place] = text[:, prompt:]
    words = torch.cat([heads, tails.view(len(prompts), -1)], 1)
    positions = ((heads >= 0).cumsum(1) - 1).clamp(min=0)
    after = positions[:, -1:] + 1 + torch.arange(width, device=device).repeat(slots)
    return Packed(words.clamp(min=0), torch.cat([positions, after], 1), _visible(words >= 0, prompt, slots, width),
                  prompt, slots, prompt_of, place)


def _visible(seen: torch.Tensor, prompt: int, slots: int, width: int) -> torch.Tensor:
    """(U, 1, L, L): keys before the query, real (``seen``, (U, L)), in the prompt or the query's own slot."""
    device = seen.device
    owner = torch.cat([torch.full((prompt,), -1, device=device),
                       torch.arange(slots, device=device).repeat_interleave(width)])
    column = torch.arange(len(owner), device=device)
    allowed = (column <= column.unsqueeze(1)) & ((owner == -1) | (owner == owner.unsqueeze(1)))
    return (allowed & seen.unsqueeze(1)).unsqueeze(1)


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Inside, no layer drops anything out: what a model is found to be must not depend on random draws, nor use up any
    that training would have had."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
