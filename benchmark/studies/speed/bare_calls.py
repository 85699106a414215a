"""What the hardware allows: the bare calls of transformers and torch that an update cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmark.lm.adapted import positions
from benchmark.lm.sequences import Sequences, chunks
from benchmark.studies.speed.world import World

K = 4  # completions per prompt


def logits(model: nn.Module, sequences: Sequences) -> torch.Tensor:
    """Logits (B, R, V) of the completion's positions."""
    keep = sequences.ids.shape[1] - sequences.prompt_length + 1
    return model(input_ids=sequences.ids, attention_mask=sequences.mask, position_ids=positions(sequences.mask),
                 use_cache=False, logits_to_keep=keep).logits[:, :-1]


@torch.no_grad()
def forward(world: World, sequences: Sequences) -> None:
    for rows in chunks(len(sequences), world.config.execution.forward_batch):
        logits(world.policy.model, sequences.select(rows, trim=False))


def forward_twice(world: World, sequences: Sequences) -> None:
    forward(world, sequences)
    forward(world, sequences)


def forward_backward(world: World, sequences: Sequences) -> None:
    """Cross-entropy of the completions, back-propagated to what is trained; gradients are thrown away."""
    for rows in chunks(len(sequences), world.config.execution.backward_batch):
        part = sequences.select(rows, trim=False)
        values = logits(world.policy.model, part).float().transpose(1, 2)
        nn.functional.cross_entropy(values, part.completion_ids).backward()
    for parameter in world.policy.parameters.values():
        parameter.grad = None


@torch.no_grad()
def generate(world: World, sequences: Sequences) -> None:
    """transformers' own sampling, the model as it is, every prompt as often as it has completions."""
    encoder, width = world.encoder, sequences.prompt_length
    bare: Any = world.policy.model
    for rows in chunks(len(sequences), world.config.execution.forward_batch):
        output = bare.generate(
            input_ids=sequences.ids[rows, :width], attention_mask=sequences.mask[rows, :width], do_sample=True,
            temperature=world.config.decoding.temperature, top_k=0, top_p=1.0, eos_token_id=encoder.eos,
            pad_token_id=encoder.pad, max_new_tokens=encoder.decoding.max_new_tokens)
        assert output.shape[1] == width + encoder.decoding.max_new_tokens


CALLS: dict[str, Callable[[World, Sequences], None]] = {
    "generate": generate, "forward": forward, "forward-twice": forward_twice, "forward-backward": forward_backward,
}
