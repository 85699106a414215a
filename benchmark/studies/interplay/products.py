"""Inner products between updates of the trained tensors, streamed block by block, and what chance would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.seeding import derive_seed
from benchmark.studies.interplay import measures
from benchmark.studies.interplay.trajectories import Trajectory

SAMPLE = 256  # coordinates that distance correlations are taken on


@dataclass
class Moments:
    """Sums over the tensors of one layer, for n updates: policy first, then reward model.

    Attributes:
        gram: (n, n) inner products; NaN where none was taken.
        variance: (n, n) variance of the inner product of independent random updates of the same shapes and norms.
        square: (n,) expected squared norm of such random updates.
        common: (n, n) inner products to expect, up to a factor, had all updates followed one gradient of the weights.
        totals: (n,) sums of all coordinates.
        entries: number of coordinates.
    """

    gram: np.ndarray
    variance: np.ndarray
    square: np.ndarray
    common: np.ndarray
    totals: np.ndarray
    entries: int

    @classmethod
    def empty(cls, n: int) -> Moments:
        return cls(np.zeros((n, n)), np.zeros((n, n)), np.zeros(n), np.zeros((n, n)), np.zeros(n), 0)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.variance + other.variance, self.square + other.square,
                       self.common + other.common, self.totals + other.totals, self.entries + other.entries)

    def deviation(self) -> np.ndarray:
        """Standard deviation (n, n) of the cosine of independent random updates of the same shapes and norms."""
        return measures.cosine_scale(np.sqrt(self.variance), self.square)

    def shared(self) -> np.ndarray:
        """Cosine (n, n) to expect of updates that followed one and the same gradient of the weights; NaN where that was
        not worked out."""
        return measures.cosine_scale(self.common, np.diag(self.common))


@dataclass
class Samples:
    """Coordinates on which distance correlations are taken: ``values`` (n, s) of the updates, ``scale`` (n, s) the root
    mean square of the tensor that each comes from."""

    values: np.ndarray
    scale: np.ndarray


def tensor_moments(trajectory: Trajectory, steps: np.ndarray
                   ) -> tuple[dict[str, Moments], np.ndarray, np.ndarray, Samples]:
    """Moments by layer of the updates of the trained tensors, all of them exact.

    Args:
        steps: (n, f) of the f updates between kept states (policy first, then reward model), which of them make up each
            of the n updates that are measured.

    Returns:
        Moments by layer, the Gram matrix (f, f) of the updates between kept states and the variance (f, f) of its
        entries by chance, and the sampled coordinates.
    """
    n, fine = steps.shape
    split = len(trajectory.policy)
    moments = {layer: Moments.empty(n) for layer in trajectory.layers}
    kept, variance = np.zeros((fine, fine)), np.zeros((fine, fine))
    values, scales, chosen, seen = [], [], 0, 0
    for module in trajectory.modules:
        for name, shape in module.tensors.items():
            size = int(np.prod(shape))
            seen += size
            picks = _picks(name, size, round(SAMPLE * seen / trajectory.parameters) - chosen)
            chosen += len(picks)
            gram, totals, drawn = np.zeros((fine, fine)), np.zeros(fine), []
            for start, states in trajectory.blocks(name, shape):
                updates = np.concatenate([np.diff(states[:split], axis=0), np.diff(states[split:], axis=0)])
                gram += updates @ updates.T
                totals += updates.sum(axis=1)
                drawn.append(updates[:, picks[(picks >= start) & (picks < start + updates.shape[1])] - start])
            found = steps @ gram @ steps.T
            square = np.maximum(np.diag(found), 0.0)
            moments[module.layer] += Moments(found, np.outer(square, square) / size, square, np.zeros((n, n)),
                                             steps @ totals, size)
            kept += gram
            variance += np.outer(np.diag(gram), np.diag(gram)) / size
            values.append(steps @ np.concatenate(drawn, axis=1))
            scales.append(np.repeat(np.sqrt(square / size)[:, None], len(picks), axis=1))
    return moments, kept, variance, Samples(np.concatenate(values, axis=1), np.concatenate(scales, axis=1))


def _picks(name: str, size: int, count: int) -> np.ndarray:
    """Fixed random coordinates of a tensor, ascending."""
    rng = np.random.default_rng(derive_seed("interplay sample", name))
    return np.sort(rng.choice(size, min(count, size), replace=False))
