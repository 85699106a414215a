"""Directions of independent entries: MeZO's (Malladi et al. 2023, arXiv 2305.17333), and signs."""

from __future__ import annotations

import torch

from baselines.contract import Direction, Noise


class Gaussian(Direction):
    """z ~ N(0, I)."""

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        return noise()


class Rademacher(Direction):
    """Every entry of z is −1 or 1 with equal probability."""

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        return noise().sign()
