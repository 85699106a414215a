"""Rows that share a prompt: the same numbers as one by one, for models that allow it."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

from benchmark.core.meter import Meter
from benchmark.core.seeding import global_seed
from benchmark.lm.policy import Policy
from benchmark.lm.sequences import Sequences, pack

VOCABULARY = 40
LLAMA = {"vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2}


def make_policy(config=None):
    with global_seed("packing"):
        model = AutoModelForCausalLM.from_config(config or LlamaConfig(**LLAMA, initializer_range=0.3))
    return Policy(model, None, Meter(), 64)


def ragged(copies=(3, 2, 2), shuffle=True):
    """Prompts of 2 to 4 tokens in a random order of rows, completions of 1 to 5."""
    stream = torch.Generator().manual_seed(0)
    rows = sum(copies)
    ids, mask = torch.zeros(rows, 9, dtype=torch.long), torch.zeros(rows, 9, dtype=torch.long)
    row = 0
    for number, count in enumerate(copies):
        length = 2 + number % 3
        prompt = torch.randint(1, VOCABULARY, (length,), generator=stream)
        for _ in range(count):
            said = torch.randint(1, VOCABULARY, (1 + row % 5,), generator=stream)
            ids[row, 4 - length : 4 + len(said)] = torch.cat([prompt, said])
            mask[row, 4 - length : 4 + len(said)] = 1
            row += 1
    order = torch.randperm(rows, generator=stream) if shuffle else torch.arange(rows)
    return Sequences(ids[order], mask[order], 4)


def one_by_one(policy, sequences):
    """Log-probabilities without padding, masks or company."""
    values = torch.zeros(len(sequences), sequences.completion_ids.shape[1])
    for row in range(len(sequences)):
        ids = sequences.ids[row][sequences.mask[row].bool()].unsqueeze(0)
        count = int(sequences.completion_mask[row].sum())
        logprobs = policy.model(input_ids=ids).logits.log_softmax(2)[0, -count - 1 : -1]
        values[row, :count] = logprobs.gather(1, ids[0, -count:, None])[:, 0]
    return values


@pytest.mark.parametrize("copies", [(3, 2, 2), (2, 2, 2), (6,), (3, 2)])
def test_packed_numbers_and_gradients_are_those_of_rows_by_themselves(copies):
    policy, sequences = make_policy(), ragged(copies)
    assert sequences.packed is not None
    weights = torch.randn(len(sequences), 5, generator=torch.Generator().manual_seed(1))
    gradients = []
    for call in (policy.logprobs, lambda rows: one_by_one(policy, rows)):
        policy.model.zero_grad()
        values = call(sequences)
        (values * weights).sum().backward()
        gradients.append((values.detach(), [p.grad.clone() for p in policy.model.parameters()]))
    (ours, our_gradients), (theirs, their_gradients) = gradients
    assert policy.found["packing"] is True
    assert torch.allclose(ours, theirs, atol=1e-5)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-4 * max(1.0, b.abs().max().item()))


def test_a_completion_does_not_see_its_neighbours():
    policy, sequences = make_policy(), ragged((3, 2), shuffle=False)
    with torch.no_grad():
        before = policy.logprobs(sequences)
        ids = sequences.ids.clone()
        ids[2, 4] = ids[2, 4] % (VOCABULARY - 1) + 1  # another first token in row 2
        after = policy.logprobs(Sequences(ids, sequences.mask, 4))
    changed = (before != after).any(1)
    assert changed.tolist() == [False, False, True, False, False]


def test_rows_that_say_the_same_share_a_slot_and_every_bit():
    sequences = ragged((3, 2), shuffle=False).select(torch.tensor([0, 1, 0, 3, 1, 0]), trim=False)
    packed = pack(sequences)
    assert packed.slots == 2 and len(packed.ids) == 2
    with torch.no_grad():
        values = make_policy().logprobs(sequences)
    assert torch.equal(values[0], values[2]) and torch.equal(values[0], values[5])
    assert torch.equal(values[1], values[4]) and not torch.equal(values[0], values[1])


def test_nothing_is_packed_where_nothing_is_saved():
    assert pack(ragged((1, 1, 1))) is None
    # Ten slots for one prompt would leave the other rows mostly padding.
    assert pack(ragged((10, *[1] * 20), shuffle=False)) is None


@pytest.mark.parametrize(("config", "packs"), [
    (Qwen2Config(**LLAMA), True),
    (GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=4), True),
    (LlamaConfig(**LLAMA, attn_implementation="eager"), False),
    (Gemma2Config(**LLAMA, head_dim=8, sliding_window=3), False),  # layers that see three tokens only; eager
], ids=["qwen2", "gpt2", "llama with eager attention", "gemma2"])
def test_models_that_make_their_own_masks_are_left_alone(config, packs):
    policy, sequences = make_policy(config), ragged()
    with torch.no_grad():
        values = policy.logprobs(sequences)
        assert torch.allclose(values, one_by_one(policy, sequences), atol=1e-4)
    assert policy.found.get("packing", False) is packs
