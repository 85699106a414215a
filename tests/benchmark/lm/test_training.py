"""SFT and reward-model training: what is learned from, and that it is learned."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.core.errors import RunError
from benchmark.core.meter import Meter
from benchmark.core.sections import SFT, Loop, RewardTraining
from benchmark.lm.loading import load_causal_lm
from benchmark.lm.policy import Policy
from benchmark.lm.training import (
    RateSchedule,
    accuracy,
    bradley_terry,
    fit,
    refine_reward,
    reward_cost,
    step_count,
    train_reward,
    train_sft,
)


@pytest.fixture
def reward(prepared):
    return prepared.reward(Meter(), 0)


def test_bradley_terry_by_hand():
    margin = torch.tensor([0.0, 2.0, -1.0])
    expected = [math.log(2), math.log(1 + math.exp(-2)), math.log(1 + math.exp(1))]
    assert bradley_terry(margin).tolist() == pytest.approx(expected)
    assert bradley_terry(margin, torch.tensor([0.0, 0.5, 0.0])).tolist() == pytest.approx(
        [math.log(2), 0.5 * (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))), math.log(1 + math.exp(-1))])


def test_a_reward_model_learns_pairs_and_scores(reward):
    pairs = [("English: the dog", "der Hund", "dog"), ("English: the cat", "die Katze", "cat")]
    scored = [("English: the dog", "der Hund", 1.0), ("English: the dog", "dog", -1.0)]
    train_reward(reward, pairs, scored, RewardTraining(steps=60, batch=2, lr=1e-2), 4, "x")
    assert accuracy(reward, pairs) == 1.0
    assert accuracy(reward, [(p, b, a) for p, a, b in pairs]) == 0.0
    assert accuracy(reward, [(p, a, a) for p, a, _ in pairs]) == 0.5


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_a_reward_model_takes_is_what_is_booked(prepared, weight):
    """A row that comes again costs tokens again, and is one label."""
    pairs = [("English: the dog", "der Hund", "dog"), ("English: the cat sees me", "cat", "die Katze sieht mich")]
    scored = [("English: the dog", "der Hund", 1.0), ("English: a cat", "cat", -1.0), ("English: me", "mich", 1.0)]
    settings, meter = RewardTraining(steps=3, batch=2, score_weight=weight), Meter()
    reward = prepared.reward(meter, 0)
    tokens, labels = reward_cost(reward, pairs, scored, settings, "x")
    train_reward(reward, pairs, scored, settings, 4, "x")
    assert tokens == pytest.approx(sum(meter.tokens.values())) and labels == (2 if weight == 0 else 5)


def test_the_score_weight_switches_the_score_loss(prepared):
    scored = [("English: the dog", "der Hund", 5.0)]
    pairs = [("English: the dog", "der Hund", "dog")]
    losses = [train_reward(prepared.reward(Meter(), 0), pairs, scored,
                           RewardTraining(steps=1, batch=1, lr=0.0, score_weight=weight), 4, "x")
              for weight in (0.0, 1.0)]
    assert losses[1] > losses[0] + 5


def test_refinement_follows_the_judge(reward):
    pairs = [("English: the dog", "der Hund", "dog"), ("English: the cat", "cat", "die Katze")] * 4
    refine_reward(reward, pairs, [1.0, 0.0] * 4, Loop(refine_epochs=20, refine_batch=8, refine_lr=1e-2), 4, "x")
    assert accuracy(reward, [pairs[0], ("English: the cat", "die Katze", "cat")]) == 1.0


def test_refinement_learns_nothing_of_pairs_that_are_the_same(prepared):
    """Whatever a judge says of them, and whether or not others stand beside them."""
    same, other = ("English: the dog", "der Hund", "der Hund"), ("English: the cat", "cat", "die Katze")
    loop, found = Loop(refine_epochs=1, refine_batch=4, refine_lr=1e-2), []
    for judged in ([0.5, 0.5, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]):
        reward = prepared.reward(Meter(), 0)
        before = {name: value.clone() for name, value in reward.state().items()}
        assert refine_reward(reward, [same] * 4, judged, loop, 4, "x") == 4
        assert all(torch.equal(value, before[name]) for name, value in reward.state().items())
        assert refine_reward(reward, [same, same, other, other], judged, loop, 4, "x") == 2
        found.append(reward.state())
        assert any(not torch.equal(value, before[name]) for name, value in reward.state().items())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_micro_batches_do_not_change_training(prepared):
    losses = [train_sft(prepared.policy(Meter(), 0), [("English: the dog", "der Hund"), ("English: a", "ein")] * 4,
                        SFT(steps=4, batch=8, lr=1e-3), size, "x") for size in (8, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_sft_learns_the_completion_and_its_end(prepared):
    model = load_causal_lm(prepared.folder / "policy", prepared.config.model, torch.float32)
    policy = Policy(model, prepared.encoder, Meter(), 8)
    example = ("English: the dog", "der Hund")
    final = train_sft(policy, [example], SFT(steps=80, batch=2, lr=1e-2), 4, "x")
    assert final < 0.3
    sampled, _ = policy.generate([prepared.encoder.prompt(example[0])] * 4, 0.1, "y")
    assert prepared.encoder.texts(sampled) == ["der Hund"] * 4
    assert prepared.encoder.eos in sampled.completion_ids[0].tolist()


def test_a_loss_that_is_not_finite_names_the_stage():
    parameter = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(RunError, match="SFT: the loss is nan at step 0. Lower"):
        fit([parameter], RateSchedule(3, 0.1), lambda step: iter([parameter.sum() * float("nan")]), "SFT")


def test_epochs_replace_steps():
    assert step_count(RewardTraining(steps=7, epochs=0.0, batch=4), 10) == 7
    assert step_count(RewardTraining(steps=7, epochs=1.5, batch=4), 10) == 4
