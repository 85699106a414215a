"""Small changes of a policy against what they truly are, by counting every completion there can be."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import product

import pytest
import torch

from benchmark.core.errors import RunError
from benchmark.core.meter import Meter
from benchmark.core.seeding import generator
from benchmark.run import evaluation
from benchmark.run.estimates import effective_share, paired_increases, standard_error, weighted_increases
from benchmark.run.evaluation import LEAST_SHARE, Evaluator, compare
from benchmark.run.prepared import Prepared

COMPLETIONS = 64  # a prompt


class Small:
    """The toy models with completions of ``length`` tokens, rewards with a standard deviation near 1."""

    def __init__(self, prepared, length=1, kind="lora"):
        config = prepared.config
        self.prepared = Prepared(prepared.folder, replace(
            config, adapter=replace(config.adapter, kind=kind),
            decoding=replace(config.decoding, max_new_tokens=length),
            evaluation=replace(config.evaluation, test_prompts=0, test_completions=COMPLETIONS)), prepared.task)
        self.policy = self.prepared.policy(Meter(), 0)
        self.reward = self.prepared.reward(Meter(), 0, policy=self.policy)
        with torch.no_grad():
            self.reward.parameters["score.weight"].mul_(40)
        self.evaluator = Evaluator(self.prepared, self.reward.state(), 0)
        self.evaluator.starts = {"test": self.evaluator.start(self.policy, self.reward, "test")}

    def move(self, by, seed=0):
        with torch.no_grad():
            for name, p in self.policy.parameters.items():
                p.add_(by * torch.randn(p.shape, generator=generator("move", name, seed)))

    def sharpen(self, by):
        with torch.no_grad():
            for p in self.policy.parameters.values():
                p.mul_(by)

    def evaluate(self):
        return self.evaluator.evaluate(self.policy, self.reward, "test")

    def increase(self):
        """Estimated increase of the reward, its standard error, and the effective share."""
        metrics = self.evaluate()
        return metrics["reward"] - self.evaluator.starts["test"].metrics["reward"], metrics["reward_se"], metrics["ess"]

    def next_token(self, prompts, said):
        """Log-probabilities (B, V), float64, of the token after ``said`` (B) lists of tokens."""
        rows = self.prepared.encoder.pad_rows(prompts, [[*tokens, 0] for tokens in said], "cpu")
        vocabulary = len(self.prepared.encoder.tokenizer)
        return self.policy._logits(rows)[:, -1].double().log_softmax(1)[:, :vocabulary]

    @cached_property
    def rewards(self):
        """r₀'s score (N, V) of all one-token completions."""
        every = [[token] for token in range(len(self.prepared.encoder.tokenizer))]
        rows = [self.prepared.encoder.pad_rows([prompt] * len(every), every, "cpu")
                for prompt in self.evaluator.prompts["test"]]
        return torch.stack(list(map(self.reward.score_chunked, rows))).double()

    def truth(self):
        """Increase of r₀'s score over all one-token completions, mean over prompts."""
        prompts = self.evaluator.prompts["test"]
        with self.policy.reference(), torch.no_grad():
            before = self.next_token(prompts, [[]] * len(prompts)).exp()
        return ((self.next_token(prompts, [[]] * len(prompts)).exp() - before) * self.rewards).sum(1).mean()


@pytest.fixture
def small(prepared):
    return Small(prepared)


def test_a_known_small_change_is_measured_as_it_is(small, monkeypatch):
    """The true changes are up to 0.006 where a completion's reward scatters by 1."""
    start, found = small.policy.state(), []
    scatter = torch.tensor(small.evaluator.starts["test"].values["reward"]).std()
    for seed in range(6):
        small.policy.load_state(start)
        small.move(0.02, seed)
        found.append((small.truth().item(), *small.increase()))
    assert 0.9 < scatter < 1.3 and min(truth for truth, *_ in found) == pytest.approx(-0.005, abs=0.001)
    for truth, increase, error, share in found:
        assert abs(increase - truth) < min(0.002, 4 * error) and error < 0.001 and share > 0.99
    monkeypatch.setattr(evaluation, "LEAST_SHARE", 2)  # completions of the policy itself do not show it
    assert small.increase()[1] > 20 * max(error for *_, error, _ in found)


def test_a_policy_that_has_gone_far_is_sampled_from(prepared):
    small = Small(prepared, kind="norms")
    small.sharpen(12)
    truth, (increase, error, share) = small.truth().item(), small.increase()
    assert share < LEAST_SHARE and abs(increase - truth) < 2 * error < 0.2 and error < truth
    with torch.no_grad():
        next(iter(small.policy.parameters.values())).fill_(float("nan"))
    with pytest.raises(RunError, match="diverged"):
        small.evaluate()


def test_the_weighted_divergence_is_that_of_the_policy_from_the_start(prepared):
    """KL(π ‖ π₀) of two tokens: that of the first, and of the second after each first one, as often as π says it."""
    small = Small(prepared, 2, "norms")
    small.sharpen(2)
    prompt, eos = small.evaluator.prompts["test"][0], prepared.encoder.eos
    vocabulary = len(prepared.encoder.tokenizer)
    firsts = [[token] for token in range(vocabulary) if token != eos]

    @torch.no_grad()
    def both():
        return small.next_token([prompt], [[]])[0], small.next_token([prompt] * len(firsts), firsts)

    first, second = both()
    with small.policy.reference():
        first_before, second_before = both()
        sequences, _ = small.policy.generate([prompt] * 600, 1.0, "x")
    going_on = torch.arange(vocabulary) != eos
    truth = (first.exp() * (first - first_before)).sum() + (
        first.exp()[going_on] * (second.exp() * (second - second_before)).sum(1)).sum()
    logs, divergence = compare(small.policy, sequences, 1.0)
    weighted, plain = ((divergence * weights).sum(1).mean().item() for weights in (logs[:, :-1].exp(), 1.0))
    assert weighted == pytest.approx(truth.item(), rel=0.02)
    assert plain != weighted


def test_increases_by_hand():
    ratios = torch.tensor([[1.5, 0.5], [1.0, 1.2]])
    values = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    increases = weighted_increases(ratios, values)
    assert increases.tolist() == pytest.approx([1.0, 0.2])  # covariances: (0.5·1 + −0.5·−1) / 1, (0 + 0.2·1) / 1
    assert standard_error(increases) == pytest.approx(0.8 / 2)  # |1 − 0.2| / √2, over √2
    assert paired_increases(values, values - 0.5).tolist() == [0.5, 0.5]
    assert standard_error(increases[:1]) == 0.0


def test_the_effective_share_by_hand():
    assert effective_share(torch.zeros(4)) == 1.0
    assert effective_share(torch.tensor([1.5, 0.5]).log()) == pytest.approx(4 / (2 * 2.5))
    assert effective_share(torch.full((4,), -2.0)) == pytest.approx(0.1353, abs=1e-4)  # alike, but π is elsewhere
    assert effective_share(torch.tensor([800.0, 0.0])) == pytest.approx(0.5)
    assert not effective_share(torch.tensor([float("nan"), 0.0])) >= LEAST_SHARE


class Greater:
    """Prefers the greater text."""

    def prefer(self, prompts, first, second):
        return [0.5 + 0.5 * ((a > b) - (a < b)) for a, b in zip(first, second, strict=True)]


def test_estimates_of_rewards_and_wins_are_unbiased(small):
    """π₀ says 0, 1 or 2 with probability 1/3: the mean over all nine pairs of completions is the true increase."""
    after = {"0": 0.5, "1": 0.4, "2": 0.1}
    pairs = list(product(after, repeat=2))
    small.evaluator.copies["test"], small.evaluator.judge = 2, Greater()
    small.evaluator.rows["test"] = small.evaluator.rows["test"][:1] * len(pairs)
    said = [text for pair in pairs for text in pair]
    ratios = torch.tensor([3 * after[text] for text in said]).view(-1, 2)
    rewards = torch.tensor([float(text) ** 2 for text in said]).view(-1, 2)
    assert weighted_increases(ratios, rewards).mean().item() == pytest.approx(0.4 + 0.4 - 5 / 3)
    wins = small.evaluator._wins(said, "test")
    assert weighted_increases(ratios, wins).mean().item() == pytest.approx(0.5 / 6 + 0.4 / 2 + 0.1 * 5 / 6 - 0.5)
    assert wins.mean(1).tolist() == [0.5] * len(pairs)
