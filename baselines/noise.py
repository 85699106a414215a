"""Random draws of a zeroth-order update, named so that they can be asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from benchmark.core.seeding import derive_seed, standard_normal


@dataclass(frozen=True)
class Noise:
    """Random draws for one tensor, from streams named by (seed, update, sample, tensor): the same whenever they are
    asked for, whatever the order and however the batch is split."""

    theta: torch.Tensor
    name: str
    seed: int
    update: int
    sample: int = 0

    def __call__(self, shape: Sequence[int] | None = None) -> torch.Tensor:
        """N(0, 1) draws of this sample, in θ's dtype and place; ``shape`` default: θ's."""
        names = ("perturbation", self.seed, self.update, *([self.sample] if self.sample else []))
        return self._draw(shape, derive_seed(*names), self.name)

    def shared(self, shape: Sequence[int], since: int, what: str = "") -> torch.Tensor:
        """N(0, 1) draws that all samples of all updates share which name the same update ``since``: the basis of a
        window needs no memory of its own, and is there again after a resume."""
        return self._draw(shape, derive_seed("shared", self.seed, since, what), self.name)

    def _draw(self, shape: Sequence[int] | None, *names: object) -> torch.Tensor:
        return standard_normal(self.theta if shape is None else self.theta.new_empty(tuple(shape)), *names)


class Factors(NamedTuple):
    """zᵢ = U ∘ rᵢ sᵢᵀ of n samples: ``base`` U in θ's shape, ``rows`` (n, first side), ``columns`` (n, second side or
    1)."""

    base: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
