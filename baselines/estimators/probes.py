"""Probes: at which points the loss is read, and what the readings say about the slope along each direction."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.contract import Probe


class TwoPoint(Probe):
    """(L(θ + εz) − L(θ − εz)) / 2ε along each of n directions, averaged (SPSA, Spall 1992)."""

    @property
    def forwards(self) -> int:
        return 2 * self.settings.samples

    def points(self) -> list[tuple[int, float]]:
        return [(sample, sign * self.epsilon) for sample in range(self.settings.samples) for sign in (1, -1)]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        n = self.settings.samples
        return {i: (losses[2 * i] - losses[2 * i + 1]) / (2 * self.epsilon) / n for i in range(n)}


class ThreePoint(Probe):
    """Two points, and θ itself: with the slope along one direction, its curvature for those who look."""

    forwards = 3

    def points(self) -> list[tuple[int, float]]:
        return [(0, self.epsilon), (0, -self.epsilon), (0, 0.0)]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        return {0: (losses[0] - losses[1]) / (2 * self.epsilon)}


class OneSided(Probe):
    """(L(θ + εz) − L(θ)) / ε along each of n directions, averaged: n + 1 readings for n directions."""

    @property
    def forwards(self) -> int:
        return 1 + self.settings.samples

    def points(self) -> list[tuple[int, float]]:
        return [(0, 0.0), *((sample, self.epsilon) for sample in range(self.settings.samples))]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        n, here = self.settings.samples, losses[0]
        return {i: (loss - here) / (n * self.epsilon) for i, loss in enumerate(losses[1:])}
