"""Online DPO (Guo et al. 2024, arXiv 2402.04792): pairs sampled from the policy, ranked by the reward model."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import Objective
from baselines.objectives.dpo import pair_losses
from benchmark.lm.rollout import Batch


class OnlineDPO(Objective):
    """Two completions per prompt; the one with the higher reward is chosen (ties: the first)."""

    settings: hp.OnlineDPOSettings

    def collect(self) -> Batch:
        rollout = self.context.sampler.rollout(self.context.sequences, 2, reference_temperature=1.0)
        rewards, reference = rollout.rewards.view(-1, 2), rollout.reference.sum(1)
        first = torch.arange(0, len(rollout.rewards), 2, device=rewards.device)
        swap = (rewards[:, 1] > rewards[:, 0]).long()
        chosen, rejected = first + swap, first + 1 - swap
        return Batch.of(
            tuple(rollout.sequences.select(rows, trim=False) for rows in (chosen, rejected)),
            {"reference_chosen": reference[chosen], "reference_rejected": reference[rejected]},
            reward=rollout.rewards.mean().item(), margin=(rewards[:, 0] - rewards[:, 1]).abs().mean().item(),
        )

    def examples(self, batch: Batch) -> torch.Tensor:
        return pair_losses(self.context.policy, batch, self.settings)
