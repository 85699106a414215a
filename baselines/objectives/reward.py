"""The reward itself, no surrogate of it: what evolution strategies climb (Salimans et al. 2017, arXiv 1703.03864)."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import Objective
from benchmark.lm.rollout import Prompts


class Reward(Objective):
    """−(mean reward − β·KL) of completions that are sampled whenever the loss is read, at the parameters of the moment.

    Every reading of a batch takes its completions from the same random draws (common random numbers), so that two
    readings differ by what differs in the policies. There is no gradient.
    """

    sampled = True
    rollout_passes, reading_passes = 0, 3
    settings: hp.RewardSettings

    def collect(self) -> Prompts:
        return self.context.sampler.prompts_for(self.context.sequences, self.settings.k)

    def loss(self, batch: Prompts) -> torch.Tensor:
        rollout = self.context.sampler.at(batch.prompts, batch.seed, batch.k)
        kl = (rollout.logprobs - rollout.reference).sum(1)
        return -(rollout.rewards - self.settings.kl_coef * kl).mean()
