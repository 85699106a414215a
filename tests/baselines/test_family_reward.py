"""The reward itself as an objective: generation at moved parameters, common random numbers, nothing left behind."""

from __future__ import annotations

import copy

import pytest
import torch

from baselines.estimators.perturbation import moved
from benchmark.core.errors import RunError
from benchmark.core.meter import Meter
from benchmark.lm import adapted
from benchmark.lm import policy as policy_module
from benchmark.lm.policy import Policy
from benchmark.plan.resolve import with_assignments
from benchmark.plan.run import Run
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared

KINDS = ("small base", "large base", "all parameters")


@pytest.fixture(params=KINDS)
def who(request, toy_folder, toy_config, toy_sources, monkeypatch):
    """Participants of a run on the reward: LoRA merged for generation, LoRA left as it is, no adapter."""
    if request.param == "large base":
        monkeypatch.setattr(adapted, "MERGED_ENTRIES", 10)
    ranks = ["adapter.kind=full"] if request.param == "all parameters" else []
    config = with_assignments(toy_config, ranks, [])
    run = Run("wmt20_mlqe", "mezo-reward", 0, config, toy_sources["wmt20_mlqe"].versions())
    return Participants(run, Prepared(toy_folder, config, "wmt20_mlqe"), Meter())


def elsewhere(policy, scale=0.05):
    """Other values for every trained tensor."""
    stream = torch.Generator().manual_seed(3)
    return {name: p.data + scale * torch.randn(p.shape, generator=stream) for name, p in policy.parameters.items()}


def merged_model(policy, point):
    """A transformers model whose own weights are those of ``policy`` at ``point``."""
    model = copy.deepcopy(policy)
    model.load_state(point)
    return model.model.merge_and_unload() if hasattr(model.model, "peft_config") else model.model


def greedy(model, policy, prompts):
    start = policy.encoder.pad_rows(prompts, [[] for _ in prompts], policy.device)
    width = start.prompt_length
    return model.generate(input_ids=start.ids[:, :width], attention_mask=start.mask[:, :width], do_sample=False,
                          max_new_tokens=8, eos_token_id=policy.encoder.eos, pad_token_id=policy.encoder.pad)[:, width:]


def test_generation_at_moved_parameters_is_that_of_a_model_that_has_them(who):
    policy, point = who.policy, elsewhere(who.policy)
    prompts = who.objective.collect().prompts
    here, _ = policy.generate(prompts, 1.0, "x", copies=2)
    with moved(policy.parameters, point.__getitem__):
        ours, logprobs = policy.generate(prompts, 1.0, "x", copies=2)
        cold, _ = policy.generate(prompts, 1e-4, "x")
    other = copy.deepcopy(policy)
    other.load_state(point)
    theirs, expected = other.generate(prompts, 1.0, "x", copies=2)
    assert torch.equal(ours.ids, theirs.ids) and torch.equal(logprobs, expected)
    assert not torch.equal(here.ids, ours.ids)  # the point is far enough to matter
    plain = merged_model(policy, point)
    assert torch.equal(cold.completion_ids, greedy(plain, policy, prompts)[:, : cold.completion_ids.shape[1]])
    again = Policy(plain.requires_grad_(True), policy.encoder, Meter(), policy.batch).logprobs_chunked(ours)
    assert torch.allclose(logprobs, again, atol=1e-4)  # and so are its probabilities


def test_the_reference_stays_where_it_is_while_the_policy_moves(who):
    policy, point = who.policy, elsewhere(who.policy)
    sequences, _ = policy.generate(who.objective.collect().prompts, 1.0, "x")

    def reference():
        with policy.reference():
            return policy.logprobs_chunked(sequences)

    before = reference()
    with moved(policy.parameters, point.__getitem__):
        assert torch.equal(reference(), before)
        assert not torch.equal(policy.logprobs_chunked(sequences), before)


def test_the_same_seed_at_two_points_takes_the_same_draws(who, monkeypatch):
    taken, sampled = [], policy_module.sample

    def watched(*args):
        taken.append(args[4].clone())  # the uniform numbers
        return sampled(*args)

    monkeypatch.setattr(policy_module, "sample", watched)
    sampler, batch = who.objective.context.sampler, who.objective.collect()
    point, state = elsewhere(who.policy), sampler.state()
    first = sampler.at(batch.prompts, batch.seed, 2)
    with moved(who.policy.parameters, point.__getitem__):
        second = sampler.at(batch.prompts, batch.seed, 2)
    again = sampler.at(batch.prompts, batch.seed, 2)
    following = who.objective.collect()
    sampler.at(batch.prompts, following.seed, 2)
    assert torch.equal(taken[0], taken[1]) and not torch.equal(taken[0], taken[3])
    assert not torch.equal(first.sequences.ids, second.sequences.ids)
    assert torch.equal(first.sequences.ids, again.sequences.ids) and torch.equal(first.rewards, again.rewards)
    assert state["calls"] + 1 == sampler.state()["calls"]  # reading moves neither prompts nor draws, collecting does


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(who, fails):
    policy = who.policy
    tensors = dict(policy.model.named_parameters())
    before = {name: (p.data_ptr(), p.detach().clone(), p.requires_grad) for name, p in tensors.items()}
    point = {name: torch.full_like(value, float("nan")) if fails else value
             for name, value in elsewhere(policy).items()}
    batch = who.objective.collect()
    try:
        with moved(policy.parameters, point.__getitem__):
            who.objective.loss(batch)
        assert not fails
    except RunError as error:
        assert fails and "not finite" in str(error)
    for name, parameter in policy.model.named_parameters():
        place, value, flag = before[name]
        assert (parameter.data_ptr(), parameter.requires_grad) == (place, flag), name
        assert torch.equal(parameter, value), name
    assert list(tensors) == [name for name, _ in policy.model.named_parameters()]


def test_the_loss_is_minus_the_mean_of_reward_less_the_price_of_kl(who):
    batch = who.objective.collect()
    with moved(who.policy.parameters, elsewhere(who.policy).__getitem__):
        rollout = who.objective.context.sampler.at(batch.prompts, batch.seed, batch.k)
        loss = who.objective.loss(batch).item()
    kl = (rollout.logprobs - rollout.reference).sum(1)
    assert kl.abs().max() > 0.01
    assert loss == pytest.approx(-(rollout.rewards.mean() - 0.05 * kl.mean()).item(), abs=1e-6)


def test_every_reading_of_the_reward_generates_and_is_booked_so(who):
    meter, batch = who.meter, who.objective.collect()
    spent = []
    for _ in range(2):
        with meter.ledger("update"):
            who.objective.loss(batch)
        spent.append((meter.spent()["generated_tokens"], meter.spent()["completions"]))
    rollout = who.objective.context.sampler.at(batch.prompts, batch.seed, batch.k)  # in no ledger of a method
    once = int(rollout.sequences.completion_mask.sum()), len(batch)
    assert spent == [once, (2 * once[0], 2 * once[1])]
    assert (meter.spent()["generated_tokens"], meter.spent()["completions"]) == spent[-1]
