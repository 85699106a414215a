"""Directions made of random factors: one low-rank matrix a member of a population, one sign pattern an example."""

from __future__ import annotations

import math

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, Noise


class RandomFactors(Direction):
    """z = A Bᵀ / √r with A, B ~ N(0, 1) for every matrix, Gaussian for every vector (EGGROLL, arXiv 2511.16652)."""

    settings: hp.RandomFactors

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        if theta.ndim != 2:
            return noise()
        # One draw for both: two would begin with the same numbers.
        a, b = noise((sum(theta.shape), self.settings.factors)).split(list(theta.shape))
        return a @ b.T / math.sqrt(self.settings.factors)
