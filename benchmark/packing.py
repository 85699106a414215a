"""Sequences that share a prompt, laid out so that a forward pass reads the prompt once.

A row holds one prompt and after it its completions, slot by slot, those that are the same only once. A completion sees
its prompt and itself; the attention mask hides the other slots. Keys that are hidden weigh exactly zero, so that every
hidden state is what it is in the plain layout, to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmark.encoding import Sequences


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
