"""Refinement of the reward model after an iteration, on pairs of the present policy that the judge labels."""

from __future__ import annotations

import torch

from benchmark.lm.training import refine_reward
from benchmark.run.participants import Participants


class Refinement:
    """Has a prompt order of its own, so that no method moves it."""

    def __init__(self, participants: Participants):
        self.participants = participants
        self.prompts = participants.prompts("refinement prompts")

    def refine(self, iteration: int) -> int:
        """The judge labels fresh pairs sampled from the policy; the reward model learns from them. Returns how many of
        them were twice the same completion."""
        who = self.participants
        config, seed = who.run.config, who.run.seed
        loop = config.loop
        bodies, prompts = self.prompts.take(loop.refine_pairs)
        texts = []
        for side in "ab":
            sampled, _ = who.policy.generate(prompts, config.decoding.temperature, "refinement", seed, iteration, side)
            texts.append(who.prepared.encoder.texts(sampled))
        preferences = who.evaluator.prefer(bodies, *texts)
        before = who.reward.state()
        equal = refine_reward(who.reward, list(zip(bodies, *texts, strict=True)), preferences, loop,
                              config.execution.backward_batch, (seed, iteration))
        if loop.keep_close:
            after = who.reward.state()
            who.reward.load_state({name: torch.lerp(after[name], before[name], loop.keep_close) for name in after})
        return equal
