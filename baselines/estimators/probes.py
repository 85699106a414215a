"""Probes: at which points the loss is read, and what the readings say about the slope along each direction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from baselines import hyperparameters as hp
from baselines.contract import Probe
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import ConfigError


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


class Conservative(TwoPoint):
    """Two-point; then the best of θ, θ + step and θ − step on the same batch is kept (zo_conserv of ZO-Bench, Zhang et
    al. 2024, arXiv 2402.11592)."""

    tries = (0.0, 1.0, -1.0)

    @property
    def forwards(self) -> int:
        return super().forwards + len(self.tries)


class ScalarSign(TwoPoint):
    """The sign of each two-point slope: z keeps its length, the slope loses its own (zo_sign_opt of ZO-Bench)."""

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        n = self.settings.samples
        return {i: slope / abs(slope) / n if slope else 0.0 for i, slope in super().weights(losses).items()}


class Normalised(OneSided):
    """(L(θ + εz) − L(θ)) / s along each of n directions, averaged; s is the population standard deviation of the n
    perturbed losses (FZOO, arXiv 2506.09034). Where they are all the same they tell nothing, and no update is made."""

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        here, perturbed = losses[0], losses[1:]
        if min(perturbed) == max(perturbed):
            return {}
        spread = torch.tensor(perturbed, dtype=torch.float64).std(correction=0).item()
        return {i: (loss - here) / (len(perturbed) * spread) for i, loss in enumerate(perturbed)}


class ScalarAdaptive(TwoPoint):
    """Two-point slopes over √v̂ + ζ, where v is a running mean of the squared mean slope (MEAZO, Dbouk et al. 2026,
    arXiv 2605.03869): Adam's second moment in one number."""

    def __init__(self, settings: hp.ScalarAdaptiveSettings):
        super().__init__(settings)
        self.second, self.updates = 0.0, 0

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        slopes, memory = super().weights(losses), self.settings.memory
        self.updates += 1
        self.second = memory * self.second + (1 - memory) * sum(slopes.values()) ** 2
        scale = math.sqrt(self.second / (1 - memory**self.updates)) + self.settings.zeta
        return {sample: slope / scale for sample, slope in slopes.items()}

    def state(self) -> Saved:
        return {"second": self.second, "updates": self.updates}

    def load_state(self, state: Saved) -> None:
        self.second, self.updates = state["second"], state["updates"]


class ForwardGradient(Probe):
    """⟨∇L(θ), z⟩ along each of n directions, by forward-mode differentiation, averaged (Baydin et al. 2022, arXiv
    2202.08587): what two-point slopes are without the error of finite differences."""

    exact = True

    def __init__(self, settings: hp.ForwardGradientSettings):
        self.settings, self.epsilon = settings, 0.0  # nothing is perturbed

    @property
    def forwards(self) -> int:
        return self.settings.samples

    def points(self) -> list[tuple[int, float]]:
        return [(sample, 0.0) for sample in range(self.settings.samples)]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        return {i: slope / len(losses) for i, slope in enumerate(losses)}


class Best(OneSided):
    """The best of n perturbed points, if it is better than θ: with SGD at lr 1 θ moves there (random search)."""

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        if any(map(math.isnan, losses)):
            return {0: math.nan}
        best = losses.index(min(losses))
        return {best - 1: -self.epsilon} if best else {}


class Population(Probe):
    """Fitness of N members θ + σz, shaped to be without scale, times their z, averaged over the members (evolution
    strategies: Salimans et al. 2017, arXiv 1703.03864; Qiu et al. 2025, arXiv 2509.24372). Where all are equally fit
    nothing is told, and no update is made.

    Antithetic: members come in pairs θ ± σz.
    """

    def __init__(self, settings: hp.PopulationSettings):
        if settings.antithetic and settings.population % 2:
            raise ConfigError(f"population = {settings.population}: antithetic members come in pairs. Give an even "
                              f"number, or antithetic=false.")
        self.settings, self.epsilon = settings, settings.sigma

    @property
    def forwards(self) -> int:
        return self.settings.population

    def points(self) -> list[tuple[int, float]]:
        signs = (1, -1) if self.settings.antithetic else (1,)
        return [(sample, sign * self.epsilon) for sample in range(self.settings.population // len(signs))
                for sign in signs]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        if min(losses) == max(losses):
            return {}
        weights: dict[int, float] = {}
        for (sample, scale), shaped in zip(self.points(), self.shaped(losses), strict=True):
            weights[sample] = weights.get(sample, 0.0) + math.copysign(1 / len(losses), scale) * shaped
        return weights

    def shaped(self, losses: Sequence[float]) -> list[float]:
        """z-scores, or ranks from −½ to ½; equals share a rank."""
        if self.settings.fitness == "ranks":
            above = [sum(other < loss for other in losses) + sum(other <= loss for other in losses) for loss in losses]
            return [(count - 1) / 2 / (len(losses) - 1) - 0.5 for count in above]
        values = torch.tensor(losses, dtype=torch.float64)
        return ((values - values.mean()) / (values.std(correction=0) + 1e-8)).tolist()


class LowRankPopulation(Population):
    """The weights of EGGROLL (Sarkar et al. 2025, arXiv 2511.16652): z-scores as they are, σ√N in the place of 1, so
    that a step is about lr·σ in every entry."""

    settings: hp.LowRankPopulationSettings

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        scale = self.epsilon * math.sqrt(len(losses))
        return {sample: scale * weight for sample, weight in super().weights(losses).items()}

    def shaped(self, losses: Sequence[float]) -> list[float]:
        values = torch.tensor(losses, dtype=torch.float64)
        return ((values - values.mean()) / (values.var(correction=0) + 1e-5).sqrt()).tolist()


class EachExample(Probe):
    """L(θ + εz) − L(θ − εz) of every example along a direction of its own, over the standard deviation of these
    differences, over 2ε, averaged (GRZO, arXiv 2606.02857). Where all are the same, no update is made."""

    settings: hp.EachExampleSettings
    forwards, each = 2, True

    def points(self) -> list[tuple[int, float]]:
        return [(0, self.epsilon), (0, -self.epsilon)]

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        differences = torch.tensor(losses, dtype=torch.float64).view(-1, 2) @ torch.tensor([1.0, -1.0]).double()
        if differences.min() == differences.max():
            return {}
        kept = differences - differences.mean() if self.settings.centred else differences
        scale = 2 * self.epsilon * len(differences) * differences.std(correction=0)
        return dict(enumerate((kept / scale).tolist()))
