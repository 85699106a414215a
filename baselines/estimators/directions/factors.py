"""Directions made of random factors: one low-rank matrix a member of a population, one sign pattern an example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction
from baselines.noise import Factors, Noise


class RandomFactors(Direction):
    """z = A Bᵀ / √r with A, B ~ N(0, 1) for every matrix, Gaussian for every vector (EGGROLL, arXiv 2511.16652)."""

    settings: hp.RandomFactorsSettings

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        if theta.ndim != 2:
            return noise()
        # One draw for both: two would begin with the same numbers.
        a, b = noise((sum(theta.shape), self.settings.factors)).split(list(theta.shape))
        return a @ b.T / math.sqrt(self.settings.factors)


class SignFactors(Direction):
    """z = U ∘ r sᵀ: U ~ N(0, I) is that of the update, r and s are random signs of the sample (GRZO, arXiv 2606.02857;
    Flipout, Wen et al. 2018, arXiv 1803.04386). Every z is N(0, I), and no two are correlated."""

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        base = self._base(theta, noise)
        return base * torch.outer(*self._signs(base, noise)).view_as(base)

    def factors(self, name: str, theta: torch.Tensor, noises: Sequence[Noise]) -> Factors | None:
        if theta.ndim > 2:
            return None
        base = self._base(theta, noises[0])
        rows, columns = zip(*(self._signs(base, noise) for noise in noises), strict=True)
        return Factors(base, torch.stack(rows), torch.stack(columns))

    @staticmethod
    def _base(theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        return noise.shared(theta.shape, noise.update, "base")

    @staticmethod
    def _signs(base: torch.Tensor, noise: Noise) -> tuple[torch.Tensor, ...]:
        rows, columns = base.shape[0], math.prod(base.shape[1:])
        return (noise((rows + columns,)) >= 0).to(base.dtype).mul_(2).sub_(1).split([rows, columns])
