"""A rule: Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2)."""

from dataclasses import dataclass

import torch

from baselines import hyperparameters as hp
from baselines.contract import Rule
from baselines.estimators.flattening import parts
from baselines.registry import METHODS, RULES, FirstOrder, Method, Part, ZerothOrder
from benchmark.core.fields import option


@dataclass(frozen=True)
class LionSettings(hp.SGDSettings):
    beta1: float = option(0.9, "share of the average in the step", minimum=0, source="arXiv 2302.06675, algorithm 2")
    beta2: float = option(0.99, "share of the average that is kept", minimum=0, source="arXiv 2302.06675, algorithm 2")


class Lion(Rule):
    """θ ← θ − lr·(sign(β₁m + (1 − β₁)ĝ) + weight_decay·θ); m ← β₂m + (1 − β₂)ĝ."""

    copies = 1.0

    def __init__(self, parameters, settings):
        super().__init__(parameters, settings)
        self.averages = {}

    def step(self, names, estimate, lr):
        tensors = [self.parameters[name].data for name in names]
        for name, theta, part in zip(names, tensors, parts(estimate, tensors), strict=True):
            average = self.averages.setdefault(name, torch.zeros_like(part))
            step = torch.lerp(part, average, self.settings.beta1).sign()
            theta.sub_(step + self.settings.weight_decay * theta, alpha=lr)
            average.lerp_(part, 1 - self.settings.beta2)

    def carry(self, carried):
        moved = {name: carried(name, average) for name, average in self.averages.items()}
        self.averages = {name: average for name, average in moved.items() if average is not None}

    def state(self):
        return {"averages": dict(self.averages)}

    def load_state(self, state):
        self.averages = {name: average.to(self.parameters[name].device)
                         for name, average in state["averages"].items()}


RULES["lion"] = Part(f"{__name__}:Lion", LionSettings)
METHODS["mezo-lion"] = Method("mezo-lion", "rloo", ZerothOrder("gaussian", rule="lion"), "MeZO with Lion",
                              group="examples", base="mezo")
METHODS["rloo-lion"] = Method("rloo-lion", "rloo", FirstOrder(rule="lion"), "RLOO with Lion", group="examples",
                              base="rloo")
