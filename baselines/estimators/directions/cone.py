"""ConMeZO's directions (arXiv 2511.02757): on a cone around the momentum of the estimates.

    z = √d cos(angle) m/‖m‖ + sin(angle) u,    u ~ N(0, I);    m ← β m + (1 − β) g z

d, ‖m‖ and the angle are those of all trained tensors together. Before the first estimate, z = u.
"""

from __future__ import annotations

import math

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, Noise, Progress
from benchmark.core.checkpoint import Saved

START, HOLD = 0.1, 0.1  # β at first, and for which share of its warm-up


class Cone(Direction):
    """z on the cone; m in float32."""

    settings: hp.ConeSettings
    copies = 1.0
    learns = True

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.ConeSettings):
        super().__init__(parameters, settings)
        self.momentum: dict[str, torch.Tensor] = {}  # m
        self.entries = sum(parameter.numel() for parameter in parameters.values())  # d
        self.along, self.beta = 0.0, settings.momentum  # √d cos(angle) / ‖m‖, β

    def begin(self, update: int, progress: Progress) -> None:
        self.beta = warmed_up(self.settings, progress.run)
        norm = torch.nn.utils.get_total_norm(list(self.momentum.values())).item() if self.momentum else 0.0
        self.along = math.sqrt(self.entries) * math.cos(self.settings.angle) / norm if norm else 0.0

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        if not self.along:
            return noise()
        return (noise() * math.sin(self.settings.angle)).add_(self.momentum[name].to(theta.dtype), alpha=self.along)

    def noted(self, name: str, estimate: torch.Tensor) -> None:
        if name not in self.momentum:
            self.momentum[name] = torch.zeros_like(estimate, dtype=torch.promote_types(estimate.dtype, torch.float32))
        self.momentum[name].mul_(self.beta).add_(estimate, alpha=1 - self.beta)

    def figures(self) -> dict[str, float]:
        return {"beta": self.beta}

    def state(self) -> Saved:
        return {"momentum": dict(self.momentum)}

    def load_state(self, state: Saved) -> None:
        self.momentum = {name: m.to(self.parameters[name].device) for name, m in state["momentum"].items()}


def warmed_up(settings: hp.ConeSettings, progress: float) -> float:
    """β at ``progress``, the share of the run that is done: 0.1, then easing to its target until the warm-up ends."""
    if progress >= settings.warm_up:
        return settings.momentum
    q = max(0.0, progress / settings.warm_up - HOLD) / (1 - HOLD)
    return settings.momentum - (settings.momentum - START) / (1 + 8 * q**1.8) ** 3
