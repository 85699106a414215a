"""HiZOO's directions (Zhao et al. 2024, arXiv 2402.15173): shorter where the loss is estimated to bend more.

    z = u / √h,    u ~ N(0, I);    h ← (1 − a) h + a D/(2ε²) h u²,    D = |L₊ + L₋ − 2 L₀|

The readings are taken along u/√h with the old h, and g u/√h with the new one is followed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, Noise
from benchmark.core.checkpoint import Saved


class Curvature(Direction):
    """z scaled by h; h in float32, for in bfloat16 a change by 1e-8 of it is none."""

    settings: hp.CurvatureSettings
    copies = 1.0

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.CurvatureSettings):
        super().__init__(parameters, settings)
        self.h = {name: torch.ones_like(p.data, dtype=torch.float32) for name, p in parameters.items()}
        self.curvature = 0.0  # D/(2ε²) of the present update

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        return (noise() / self.h[name].sqrt()).to(theta.dtype)

    def measured(self, losses: Sequence[float]) -> None:
        plus, minus, here = losses
        self.curvature = abs(plus + minus - 2 * here) / (2 * self.settings.epsilon**2)

    def followed(self, name: str, theta: torch.Tensor, noise: Noise, z: torch.Tensor) -> torch.Tensor:
        """u/√h with the new h, which is kept: asked for once an update."""
        u, a, h = noise(), self.settings.smoothing, self.h[name]
        self.h[name] = (1 - a) * h + (a * self.curvature) * h * u.float().square()
        return (u / self.h[name].sqrt()).to(theta.dtype)

    def figures(self) -> dict[str, float]:
        """Mean and largest |h − 1|: below some hundredths the run is MeZO's."""
        away = [(h - 1).abs() for h in self.h.values()]
        total = torch.stack([part.sum() for part in away]).double().sum().item()
        return {"h_change_mean": total / sum(part.numel() for part in away),
                "h_change_max": torch.stack([part.max() for part in away]).max().item()}

    def state(self) -> Saved:
        return {"h": dict(self.h)}

    def load_state(self, state: Saved) -> None:
        self.h = {name: state["h"][name].to(p.device) for name, p in self.parameters.items()}
