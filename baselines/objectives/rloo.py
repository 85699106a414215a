"""RLOO: REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv 2402.14740)."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import Objective
from benchmark.core.checkpoint import Saved
from benchmark.core.seeding import generator
from benchmark.lm.rollout import Batch


def leave_one_out(rewards: torch.Tensor, k: int) -> torch.Tensor:
    """Advantages (B,) = reward − mean reward of the other k − 1 completions of the same prompt (rows consecutive)."""
    groups = rewards.view(-1, k)
    baseline = (groups.sum(1, keepdim=True) - groups) / (k - 1)
    return (groups - baseline).flatten()


def clipped(advantages: torch.Tensor, ratio: torch.Tensor, clip: float) -> torch.Tensor:
    """PPO's pessimistic surrogate, to be minimised: max(−Aρ, −A clip(ρ, 1−c, 1+c)), element by element."""
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


class RLOO(Objective):
    """The KL to π₀ is part of the reward (k1 estimate); the ratio is that of whole sequences."""

    settings: hp.RLOOSettings

    def collect(self) -> Batch:
        rollout = self.context.sampler.rollout(self.context.sequences, self.settings.k)
        kl = (rollout.logprobs - rollout.reference).sum(1)
        rewards = rollout.rewards - self.settings.kl_coef * kl
        return Batch.of(
            (rollout.sequences,),
            {"advantages": self.advantages(rewards), "old": rollout.logprobs.sum(1)},
            reward=rollout.rewards.mean().item(), kl=kl.mean().item(),
        )

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Of the completions (B,), from their rewards (B,)."""
        return leave_one_out(rewards, self.settings.k)

    def examples(self, batch: Batch) -> torch.Tensor:
        (sequences,) = batch.parts
        logprobs = self.context.policy.logprobs(sequences, self.context.temperature).sum(1)
        ratio = (logprobs - batch.values["old"]).exp()
        return clipped(batch.values["advantages"], ratio, self.settings.clip)


class ShuffledRLOO(RLOO):
    """A control: every rollout's advantages are dealt out to its completions at random, so that they tell nothing.
    What a method gains with it, it does not gain from the reward."""

    rollouts = 0

    def state(self) -> Saved:
        return {**super().state(), "rollouts": self.rollouts}

    def load_state(self, state: Saved) -> None:
        super().load_state(state)
        self.rollouts = state["rollouts"]

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        stream = generator("shuffled advantages", self.context.seed, self.rollouts)
        self.rollouts += 1
        return super().advantages(rewards)[torch.randperm(len(rewards), generator=stream).to(rewards.device)]
