"""The problem of one update: an objective's loss on a batch. The one place where micro-batches are summed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.autograd import forward_ad

from baselines.contract import Objective
from benchmark.lm.rollout import AnyBatch, Batch

NOISE_PARTS = 8  # of a batch, at least, when the noise of its loss is measured


@dataclass(frozen=True)
class BatchProblem:
    """The loss of ``batch`` at the present parameters; see :class:`baselines.contract.Problem`.

    Attributes:
        micro_batch: rows of a forward or backward pass at most.
    """

    objective: Objective
    batch: AnyBatch
    micro_batch: int

    @property
    def sampled(self) -> bool:
        return self.objective.sampled

    def value(self) -> float:
        return sum(self.objective.loss(part).item() for part in self.batch.split(self.micro_batch))

    def backward(self) -> float:
        total = 0.0
        for part in self.batch.split(self.micro_batch):
            loss = self.objective.loss(part)
            loss.backward()
            total += loss.item()
        return total

    def derivative(self) -> tuple[float, float]:
        pairs = [forward_ad.unpack_dual(self.objective.loss(part)) for part in self.batch.split(self.micro_batch)]
        return (sum(pair.primal.item() for pair in pairs),
                sum(0.0 if pair.tangent is None else pair.tangent.item() for pair in pairs))

    def terms(self, *seed: object) -> list[float]:
        # Small parts, because the terms of a loss may cancel (advantages add up to zero): rounding acts on terms.
        size = max(1, min(self.micro_batch, len(self.batch) // NOISE_PARTS))
        return [self.objective.loss(part).item() for part in self.batch.shuffled(*seed).split(size)]

    def each(self) -> list[BatchProblem]:
        return [replace(self, batch=example) for example in self.batch.split(1)]

    def together(self) -> list[BatchProblem]:
        assert isinstance(self.batch, Batch)  # a loss that samples has no examples
        return [replace(self, batch=part) for part in self.batch.apart.split(self.micro_batch)]

    @property
    def size(self) -> int:
        return len(self.batch)

    def examples(self) -> list[float]:
        assert isinstance(self.batch, Batch)
        return (self.objective.examples(self.batch) / self.batch.rows).tolist()

    def compared(self) -> torch.Tensor:
        return torch.cat([self.objective.compared(part) for part in self.batch.split(self.micro_batch)])
