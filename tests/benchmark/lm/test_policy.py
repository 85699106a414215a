"""Policy and reward model: what is sampled, what is scored, what is charged."""

from __future__ import annotations

import pytest
import torch

from benchmark.core.meter import Meter
from benchmark.lm.reward import RewardModel
from benchmark.run.evaluation import compare


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def policy(prepared, meter):
    return prepared.policy(meter, 0)


@pytest.fixture
def reward(prepared, meter, policy):
    return prepared.reward(meter, 0, policy=policy)


@pytest.fixture
def prompts(prepared):
    return [prepared.encoder.prompt(p.text) for p in prepared.data.prompts["train"][:5]]


def move(model, scale=0.05):
    with torch.no_grad():
        for i, p in enumerate(model.parameters.values()):
            p.add_(scale * torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))


def test_a_fresh_adapter_changes_nothing_and_the_reference_stays(policy, prompts):
    sequences, _ = policy.generate(prompts, 1.0, "x")
    with policy.reference():
        start = policy.logprobs_chunked(sequences)
    assert torch.equal(policy.logprobs_chunked(sequences), start)
    move(policy)
    moved = policy.logprobs_chunked(sequences)
    with policy.reference():
        assert torch.equal(policy.logprobs_chunked(sequences), start)
    assert not torch.allclose(moved, start)


def test_logprobs_of_the_generation_are_those_of_a_forward(policy, prompts):
    move(policy)
    sequences, sampled = policy.generate(prompts, 0.7, "x")
    assert torch.allclose(sampled, policy.logprobs_chunked(sequences, 0.7), atol=1e-4)


def test_logprobs_against_a_plain_forward(policy, prompts):
    """The shortcut (completion positions only, trimmed padding) equals the textbook computation row by row."""
    sequences, _ = policy.generate(prompts, 1.0, "x")
    ours = policy.logprobs(sequences).sum(1)
    for row in range(len(prompts)):
        ids = sequences.ids[row][sequences.mask[row].bool()].unsqueeze(0)
        table = policy.model(input_ids=ids).logits.log_softmax(2)
        start = len(prompts[row])
        expected = sum(table[0, i - 1, ids[0, i]] for i in range(start, ids.shape[1]))
        assert ours[row].item() == pytest.approx(expected.item(), abs=1e-4)


def test_the_same_stream_gives_the_same_completions_and_another_does_not(policy, prompts):
    state = torch.random.get_rng_state()
    first, _ = policy.generate(prompts, 1.0, "a", 1)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is left alone
    torch.manual_seed(123)
    again, _ = policy.generate(prompts, 1.0, "a", 1)
    other, _ = policy.generate(prompts, 1.0, "a", 2)
    assert torch.equal(first.ids, again.ids)
    assert not torch.equal(first.ids, other.ids)


def test_the_mask_ends_with_the_first_eos(policy, prompts):
    sequences, _ = policy.generate(prompts * 6, 1.0, "x")
    for ids, mask in zip(sequences.completion_ids.tolist(), sequences.completion_mask.tolist(), strict=True):
        length = ids.index(policy.encoder.eos) + 1 if policy.encoder.eos in ids else len(ids)
        assert mask == [1] * length + [0] * (len(ids) - length)


def test_a_score_does_not_depend_on_padding(reward, prepared):
    rows = [("English: the dog", "der Hund"), ("English: the very small dog sleeps here", "der kleine Hund schläft")]
    together = reward.score(prepared.encoder.rows(rows, reward.device))
    for row, expected in zip(rows, together, strict=True):
        alone = reward.score(prepared.encoder.rows([row], reward.device))
        assert alone.item() == pytest.approx(expected.item(), abs=1e-5)


def test_policy_and_reward_updates_have_the_same_names_and_shapes(policy, reward):
    ours, theirs = policy.state(), reward.state()
    assert set(theirs) - set(ours) == {"score.weight"}
    assert all(theirs[name].shape == tensor.shape for name, tensor in ours.items())
    assert all(tensor.dtype == torch.float32 for tensor in [*ours.values(), *theirs.values()])


def test_kl_is_zero_at_the_start_and_positive_after(policy, prompts):
    sequences, _ = policy.generate(prompts, 1.0, "x")
    logs, divergence = compare(policy, sequences, 1.0)
    assert not logs.any() and not divergence.any()
    before = policy.logprobs_chunked(sequences, 0.7)
    move(policy)
    logs, divergence = compare(policy, sequences, 0.7)
    seen = sequences.completion_mask.bool()
    assert (divergence[seen] > 0).all() and not divergence[~seen].any()
    expected = (policy.logprobs_chunked(sequences, 0.7) - before).double().cumsum(1)
    assert not logs[:, 0].any() and torch.allclose(logs[:, 1:], expected, atol=1e-4)


def test_charges_are_those_counted_by_hand(policy, reward, meter, prompts):
    lengths = sum(map(len, prompts))
    with meter.ledger("rollout"):
        sequences, _ = policy.generate(prompts, 1.0, "x")
    new = int(sequences.completion_mask.sum())
    assert meter.tokens["rollout"] == lengths + new
    with meter.ledger("refine"), torch.no_grad():
        policy.logprobs(sequences)
    assert meter.tokens["refine"] == lengths + new
    with meter.ledger("update"):
        policy.logprobs(sequences)
    assert meter.tokens["update"] == pytest.approx((lengths + new) * (2 + policy.trained))
    with meter.ledger("evaluate"):
        reward.score_chunked(sequences)
    assert meter.tokens["evaluate"] == pytest.approx((lengths + new) * reward.share)


def test_a_state_with_other_names_is_refused(policy):
    with pytest.raises(ValueError, match="names differ"):
        policy.load_state({"x": torch.zeros(1)})


def test_state_is_a_copy(reward):
    assert isinstance(reward, RewardModel)
    before = reward.state()
    move(reward)
    assert any(not torch.equal(before[name], p) for name, p in reward.parameters.items())
    reward.load_state(before)
    assert all(torch.equal(before[name], p) for name, p in reward.parameters.items())


def test_a_model_that_caps_its_logits_keeps_its_cap_where_logits_are_small():
    """The cap changes a logit of 2 by 0.003: less than a hundredth, and no rounding."""
    from transformers import AutoModelForCausalLM, Gemma2Config

    from benchmark.lm.policy import Policy
    from tests.benchmark.lm.test_sequences import LLAMA, one_by_one, ragged

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Gemma2Config(**LLAMA, head_dim=8, initializer_range=0.2)).eval()
    policy, sequences = Policy(model, None, Meter(), 64), ragged()
    with torch.no_grad():
        assert torch.allclose(policy.logprobs(sequences), one_by_one(policy, sequences), atol=1e-5)
