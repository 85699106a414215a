"""PPO with a trainable critic and generalised advantage estimation (Schulman et al. 2017; Ouyang et al. 2022)."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import Context, Objective
from baselines.objectives.rloo import clipped
from benchmark.core.checkpoint import Saved
from benchmark.lm.reward import RewardModel
from benchmark.lm.rollout import Batch
from benchmark.lm.sequences import Sequences


def generalised_advantages(rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float,
                           lam: float) -> torch.Tensor:
    """GAE: δ_t = r_t + γ V_{t+1} − V_t, A_t = δ_t + γλ A_{t+1}; V is 0 beyond the last token.

    Args:
        rewards, values: (B, R), 0 where ``mask`` is 0.
        mask: (B, R), 1 on the completion's tokens.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        next_value = values[:, t + 1] if t + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        advantages[:, t] = following
    return advantages


def whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit (n − 1) variance over the entries where ``mask`` is 1; 0 elsewhere."""
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean).square() * mask).sum() / (count - 1)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask


class PPO(Objective):
    """Token-level PPO; the critic is a model of its own that starts from the reward model r₀ and is trained.

    (The released code uses the frozen reward model itself as critic, so that its value loss has no gradient.)
    """

    rollout_passes, reading_passes = 4, 2  # those of the critic too

    def __init__(self, context: Context, settings: hp.PPOSettings):
        super().__init__(context, settings)
        self.critic: RewardModel = context.new_critic()
        self.critic.rereads = True
        self.parameters = {f"critic.{name}": p for name, p in self.critic.parameters.items()}

    def _values(self, sequences: Sequences) -> torch.Tensor:
        """V (B, R): at each completion position, the value of the text before that token."""
        return self.critic.values(sequences)[:, :-1] * sequences.completion_mask

    def collect(self) -> Batch:
        settings = self.settings
        rollout = self.context.sampler.rollout(self.context.sequences, settings.k)
        sequences, mask = rollout.sequences, rollout.sequences.completion_mask.float()
        values = self.critic.values_chunked(sequences)[:, :-1] * mask
        kl = rollout.logprobs - rollout.reference
        rewards = -settings.kl_coef * kl
        last = mask.sum(1).long() - 1
        rewards[torch.arange(len(last)), last] += rollout.rewards
        advantages = generalised_advantages(rewards, values, mask, settings.gamma, settings.lam)
        return Batch.of(
            (sequences,),
            {"advantages": whiten(advantages, mask), "returns": advantages + values, "values": values,
             "old": rollout.logprobs},
            reward=rollout.rewards.mean().item(), kl=kl.sum(1).mean().item(),
            value_error=((advantages * mask).square().sum() / mask.sum()).item(),
        )

    def state(self) -> Saved:
        return {**super().state(), "critic": self.critic.saved()}

    def load_state(self, state: Saved) -> None:
        super().load_state(state)
        self.critic.restore(state["critic"])

    def loss(self, batch: Batch) -> torch.Tensor:
        (sequences,), stored, settings = batch.parts, batch.values, self.settings
        mask = sequences.completion_mask
        logprobs = self.context.policy.logprobs(sequences, self.context.temperature)
        surrogate = clipped(stored["advantages"], (logprobs - stored["old"]).exp(), settings.clip)
        values = self._values(sequences)
        near = stored["values"] + (values - stored["values"]).clamp(-settings.value_clip, settings.value_clip)
        error = torch.maximum((values - stored["returns"]).square(), (near - stored["returns"]).square())
        return ((surrogate + settings.value_coef * 0.5 * error) * mask).sum() / batch.tokens
