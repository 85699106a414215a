"""Sampling: the right distribution, the model's own log-probabilities, nothing that depends on batching."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare, kstest

from benchmark.core.errors import RunError
from benchmark.core.meter import Meter
from benchmark.core.seeding import BLOCK, standard_normal
from benchmark.lm import adapted, generation
from benchmark.lm import policy as policy_module
from benchmark.lm.generation import sample
from benchmark.lm.policy import Policy

EOS, PAD = 2, 0


@pytest.fixture
def policy(prepared):
    policy = prepared.policy(Meter(), 0)
    stream = torch.Generator().manual_seed(0)
    for name, parameter in policy.parameters.items():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=stream)
    return policy


@pytest.fixture
def prompts(prepared):
    return [prepared.encoder.prompt(row.text) for row in prepared.data.prompts["train"][:5]]


def padded(policy, prompts):
    start = policy.encoder.pad_rows(prompts, [[] for _ in prompts], "cpu")
    return start.ids[:, : start.prompt_length], start.mask[:, : start.prompt_length]


def uniforms(rows, steps, seed=0):
    return torch.rand(rows, steps, generator=torch.Generator().manual_seed(seed))


def test_tokens_follow_the_models_distribution(policy, prompts):
    """χ² of 4,000 first tokens against the softmax, rare tokens pooled; fails by chance once in 10⁴ seeds."""
    ids, mask = padded(policy, prompts[:1])
    tokens, _ = sample(policy.model, ids, mask, 4000, uniforms(4000, 1), 0.7, EOS, PAD)
    with torch.no_grad():
        expected = (policy.model(input_ids=ids, attention_mask=mask).logits[0, -1] / 0.7).softmax(0) * 4000
    counts = torch.bincount(tokens[:, 0], minlength=len(expected)).float()
    common = expected >= 5
    observed = [*counts[common].tolist(), counts[~common].sum().item()]
    wanted = torch.tensor([*expected[common].tolist(), expected[~common].sum().item()]).double()
    assert chisquare(observed, (wanted / wanted.sum() * 4000).tolist()).pvalue > 1e-4


def test_a_low_temperature_is_the_librarys_greedy_decoding(policy, prompts):
    ids, mask = padded(policy, prompts)
    ours, _ = sample(policy.model, ids, mask, 1, uniforms(5, 8), 1e-4, EOS, PAD)
    theirs = policy.model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8,
                                   eos_token_id=EOS, pad_token_id=PAD)[:, ids.shape[1]:]
    assert torch.equal(ours, theirs)


def test_neither_compaction_nor_copies_nor_company_change_a_row(policy, prompts, monkeypatch):
    ids, mask = padded(policy, prompts)
    draws = uniforms(10, 8)
    common = sample(policy.model, ids, mask, 2, draws, 1.0, EOS, PAD)[0].flatten().bincount()
    common[PAD] = 0
    eos = int(common.argmax())  # a frequent token as EOS, so that many rows end early
    tokens, logprobs = sample(policy.model, ids, mask, 2, draws, 1.0, eos, PAD)
    assert 0 < (tokens == eos).any(1).sum() < 10
    monkeypatch.setattr(generation, "COMPACT", 0.0)
    plain = sample(policy.model, ids, mask, 2, draws, 1.0, eos, PAD)
    assert torch.equal(tokens, plain[0]) and torch.allclose(logprobs, plain[1], atol=1e-5)
    twice = sample(policy.model, ids.repeat_interleave(2, 0), mask.repeat_interleave(2, 0), 1, draws, 1.0, eos, PAD)
    assert torch.equal(tokens, twice[0])
    last = sample(policy.model, ids[4:], mask[4:], 2, draws[8:], 1.0, eos, PAD)
    assert torch.equal(tokens[8:, : last[0].shape[1]], last[0])
    for row, values in zip(tokens, logprobs, strict=True):
        end = row.tolist().index(eos) + 1 if eos in row else len(row)
        assert (row[end:] == PAD).all() and (values[end:] == 0).all() and (values[:end] < 0).all()


def test_the_batch_of_a_generation_call_does_not_change_its_texts(policy, prompts):
    whole, first = policy.generate(prompts, 1.0, "x", copies=2)
    policy.batch = 4
    parts, second = policy.generate(prompts, 1.0, "x", copies=2)
    assert torch.equal(whole.completion_ids, parts.completion_ids) and torch.allclose(first, second, atol=1e-5)
    assert torch.equal(whole.mask, parts.mask)


def test_probabilities_that_are_not_finite_are_divergence(policy, prompts):
    next(iter(policy.parameters.values())).data.fill_(float("nan"))
    with pytest.raises(RunError, match="probabilities are not finite"):
        policy.generate(prompts, 1.0, "x")


def test_a_merged_adapter_gives_the_same_scores_and_leaves_no_trace(policy, prompts):
    sequences, _ = policy.generate(prompts, 1.0, "x")
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    flags = {name: p.requires_grad for name, p in policy.model.named_parameters()}
    with torch.no_grad():
        apart = policy.logprobs(sequences)
        with policy.merged():
            inside = policy.logprobs(sequences)
            with policy.without_adapter():
                assert torch.equal(policy.logprobs(sequences), inside)  # the base itself holds the adapter
        with pytest.raises(KeyError), policy.merged():
            raise KeyError
        assert torch.equal(policy.logprobs(sequences), apart)
    assert torch.allclose(apart, inside, atol=1e-4) and not torch.equal(apart, inside)
    for name, parameter in policy.model.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.requires_grad == flags[name], name


def test_adapters_are_not_merged_where_that_would_round_them_or_copy_much(policy, monkeypatch):
    weight = policy.plain.model.layers[0].mlp.up_proj.base_layer.weight
    with policy.merged():
        merged = weight.data_ptr()  # another tensor in its place
    assert weight.data_ptr() != merged
    monkeypatch.setattr(adapted, "MERGED_ENTRIES", 10)
    with policy.merged():
        assert weight.data_ptr() != merged


def test_log_probabilities_without_gradient_are_those_with_gradient(policy, prompts, monkeypatch):
    sequences, _ = policy.generate(prompts, 1.0, "x")
    monkeypatch.setattr(policy_module, "HEAD_ENTRIES", 1)  # one row at a time
    for temperature in (1.0, 0.7):
        ours = policy.logprobs_chunked(sequences, temperature)
        assert torch.allclose(ours, policy.logprobs(sequences, temperature).detach(), atol=1e-5)


def test_a_model_that_scales_its_logits_is_not_taken_for_a_plain_one(prepared, prompts):
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(
        vocab_size=len(prepared.encoder.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, logits_scaling=8.0, max_position_embeddings=128))
    policy = Policy(model, prepared.encoder, Meter(), 8)
    sequences, _ = policy.generate(prompts, 1.0, "x")
    assert torch.allclose(policy.logprobs_chunked(sequences), policy.logprobs(sequences).detach(), atol=1e-5)
    assert policy.found["plain_head"] is False


def test_standard_normal_numbers_do_not_depend_on_threads():
    like = torch.empty(3, BLOCK)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = standard_normal(like, "a", 1)
        torch.set_num_threads(3)
        assert torch.equal(one, standard_normal(like, "a", 1))
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(one, standard_normal(like, "a", 2))
    assert len({round(row.sum().item(), 3) for row in one}) == 3  # every block has a stream of its own
    assert kstest(one.flatten()[:20000].double().numpy(), "norm").pvalue > 1e-4
    assert standard_normal(torch.empty(4, dtype=torch.bfloat16), "a").dtype == torch.bfloat16
