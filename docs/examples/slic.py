"""An objective: the calibration loss of SLiC-HF (Zhao et al. 2023, arXiv 2305.10425) on the task's own pairs."""

from dataclasses import dataclass

import torch

from baselines.contract import Objective
from baselines.objectives.dpo import pair_logprobs
from baselines.registry import METHODS, OBJECTIVES, FirstOrder, Method, Part, ZerothOrder
from benchmark.core.fields import option
from benchmark.core.seeding import ShuffledPasses
from benchmark.lm.rollout import Batch


@dataclass(frozen=True)
class SLiCSettings:
    margin: float = option(1.0, "δ, by which the chosen completion is to be more likely (nats)", minimum=0,
                           source="arXiv 2305.10425, section 3.3")


class SLiC(Objective):
    """max(0, δ − log π(chosen) + log π(rejected)); π₀ is not asked."""

    rollout_passes = 0

    def __init__(self, context, settings):
        super().__init__(context, settings)
        self.order = ShuffledPasses(len(context.pairs), "pairs", context.seed)

    @property
    def pairs_read(self):
        return self.order.cursor

    def collect(self):
        policy = self.context.policy
        pairs = [self.context.pairs[row] for row in self.order.take(max(1, self.context.sequences // 2))]
        sides = (policy.encoder.rows([(pair[0], pair[side]) for pair in pairs], policy.device) for side in (1, 2))
        return Batch.of(tuple(sides), {})

    def loss(self, batch):
        chosen, rejected = pair_logprobs(self.context.policy, batch)
        return torch.relu(self.settings.margin - chosen + rejected).sum() / batch.rows

    def state(self):
        return {"pairs": self.order.cursor}

    def load_state(self, state):
        self.order.cursor = state["pairs"]


OBJECTIVES["slic"] = Part(f"{__name__}:SLiC", SLiCSettings)
METHODS["slic"] = Method("slic", "slic", FirstOrder(), "SLiC-HF", group="examples", base="dpo")
METHODS["mezo-slic"] = Method("mezo-slic", "slic", ZerothOrder("gaussian"), "MeZO on SLiC-HF", group="examples",
                              base="mezo-dpo")
