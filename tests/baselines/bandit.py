"""A world so small that its reward is exact: one prompt, one token a completion, d = 20.

The policy's logits are W x for a fixed x, so that everything a method meets is real but for the language model: its
objective, its sampler, its batches and its estimator.
"""

from __future__ import annotations

import contextlib

import torch

from baselines.contract import Context, Progress
from baselines.registry import get_method
from benchmark.core.meter import Meter
from benchmark.core.seeding import generator
from benchmark.lm.rollout import PromptStream, Sampler
from benchmark.lm.sequences import Sequences
from benchmark.run.problem import BatchProblem

REWARDS = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0])  # of the five tokens
X = torch.tensor([1.0, -1.0, 1.0, 1.0])
SEQUENCES = 32


def rows(tokens: torch.Tensor) -> Sequences:
    """Completions of one token after a prompt of one."""
    ids = torch.stack([torch.zeros_like(tokens), tokens], 1)
    return Sequences(ids, torch.ones_like(ids), 1)


class Encoder:
    def prompt(self, body):
        return [0]

    def rows(self, texts, device):
        return rows(torch.tensor([token for _, token in texts]))


class Policy:
    """π(token) = softmax(W x), π₀ being that of the start."""

    device, encoder = torch.device("cpu"), Encoder()

    def __init__(self):
        self.weight = torch.nn.Parameter(0.2 * torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
        self.start, self.parameters = self.weight.detach().clone(), {"layers.0.weight": self.weight}
        self.meter, self.at_start = Meter(), False

    def distribution(self):
        return torch.log_softmax(torch.mv(self.start if self.at_start else self.weight, X), 0)

    @contextlib.contextmanager
    def reference(self):
        self.at_start = True
        yield
        self.at_start = False

    def logprobs(self, sequences, temperature=1.0):
        return self.distribution()[sequences.completion_ids]

    @torch.no_grad()
    def logprobs_chunked(self, sequences, temperature=1.0):
        return self.logprobs(sequences)

    @torch.no_grad()
    def generate(self, prompts, temperature, *seed, copies=1):
        uniforms = torch.rand(len(prompts) * copies, generator=generator(*seed))
        tokens = torch.searchsorted(self.distribution().exp().cumsum(0), uniforms).clamp(max=4)
        return rows(tokens), self.logprobs(rows(tokens))

    @torch.no_grad()
    def reward(self):
        """Expected reward, exactly."""
        return (self.distribution().exp() @ REWARDS).item()


class Reward:
    """r₀ as reward model and, with a value of its own, as PPO's critic."""

    def __init__(self):
        self.value = torch.nn.Parameter(torch.zeros(2))
        self.parameters = {"value": self.value}

    def score_chunked(self, sequences):
        return REWARDS[sequences.completion_ids[:, 0]]

    def values(self, sequences):
        return self.value.expand(len(sequences), 2)

    def values_chunked(self, sequences):
        return self.values(sequences).detach()


class History:
    """Updates of the policy as they are made; the reward model's is always the same."""

    def __init__(self, policy):
        self.policy, self.ends = policy, [policy.weight.detach().clone()]

    def end_iteration(self):
        self.ends.append(self.policy.weight.detach().clone())

    def policy_update(self, iteration):
        return {"layers.0.weight": self.ends[iteration + 1] - self.ends[iteration]}

    def reward_update(self, iteration):
        return {"layers.0.weight": torch.randn(5, 4, generator=torch.Generator().manual_seed(1))}


def rewards(method: str, updates: int, iterations: int = 3, seed: int = 0, **values: object) -> list[float]:
    """Expected rewards of a run: at the start and after each iteration of so many updates."""
    row, policy = get_method(method), Policy()
    values = row.resolved({method: values})
    sampler = Sampler(policy, Reward(), PromptStream(["?"], Encoder(), "prompts", seed), 1.0, "rollout", seed)
    pairs = [("?", a, b) for a in range(5) for b in range(5) if REWARDS[a] > REWARDS[b]]
    objective = row.make_objective(Context(policy, sampler, Reward, pairs, SEQUENCES, 1.0, seed), values)
    history, found, estimators = History(policy), [policy.reward()], {}
    for iteration in range(iterations):
        objective.warm = warm = row.is_warm(iteration)
        parameters = {**policy.parameters, **objective.parameters}
        if warm not in estimators:
            estimators[warm] = row.make_estimator(parameters, values, seed, warm=warm)
        for parameter in parameters.values():
            parameter.grad = None
        estimators[warm].begin_iteration(iteration, history)
        for update in range(updates):
            done = Progress((iteration + update / updates) / iterations, update / updates)
            if update % objective.epochs == 0:
                batch = objective.collect()
            estimators[warm].step(BatchProblem(objective, batch, SEQUENCES), done)
        history.end_iteration()
        found.append(policy.reward())
    return found
