"""Two-point SPSA (Spall 1992) with Gaussian directions, descended by SGD: MeZO (Malladi et al. 2023,
arXiv 2305.17333)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from baselines import hyperparameters as hp
from baselines.context import History, Progress
from baselines.estimators.backpropagation import scheduled
from baselines.estimators.health import Arrival
from baselines.estimators.perturbation import Perturbed
from benchmark.errors import RunError
from benchmark.rollout import Batch
from benchmark.seeding import derive_seed, standard_normal


class SPSA:
    """g = (L(θ + εz) − L(θ − εz)) / 2ε;  θ ← θ − lr·(g z + weight_decay·θ).

    Each tensor's part of z comes from a random stream named by (seed, update, tensor), so it is the same whenever it is
    asked for, whatever the order and however the batch is split. The losses are evaluated on perturbed tensors put in
    the place of θ's, which itself is written to by the update alone.

    Args:
        stream: make each tensor of z anew whenever it is needed instead of keeping z and θ ± εz for the length of an
            update: one tensor of memory instead of two copies of all, for noise made three times instead of once.
    """

    phase = "optimisation"

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SPSA | hp.ZOPrO, seed: int,
                 micro_batch: int, stream: bool = False):
        self.parameters, self.settings, self.micro_batch = parameters, settings, micro_batch
        self.seed, self.updates, self.stream = seed, 0, stream
        self.warnings: list[str] = []
        self.sizes: dict[str, float] = {}

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Nothing to prepare: z does not depend on what happened before."""

    def direction(self, name: str, noise: torch.Tensor, progress: Progress) -> torch.Tensor:
        """z for one tensor, from noise e ~ N(0, I) of its shape."""
        return noise

    def _direction(self, name: str, progress: Progress) -> torch.Tensor:
        seed = derive_seed("perturbation", self.seed, self.updates)
        return self.direction(name, standard_normal(self.parameters[name], seed, name), progress)

    @torch.no_grad()
    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        epsilon, arrival = self.settings.epsilon, Arrival()
        kept = {} if self.stream else {name: self._direction(name, progress) for name in self.parameters}

        def z_of(name: str) -> torch.Tensor:
            return kept[name] if kept else self._direction(name, progress)

        def loss_at(scale: float) -> float:
            def moved(name: str) -> torch.Tensor:
                return torch.add(self.parameters[name].data, z_of(name), alpha=scale)

            value = {name: moved(name) for name in self.parameters}.__getitem__ if kept else moved
            with Perturbed(self.parameters, value):
                return sum(loss(part).item() for part in batch.split(self.micro_batch))

        plus, minus = loss_at(epsilon), loss_at(-epsilon)
        slope = (plus - minus) / (2 * epsilon)
        if not math.isfinite(slope):
            raise RunError(f"diverged: the perturbed losses are {plus} and {minus}. Lower lr or epsilon.")
        lr = scheduled(self.settings.lr, self.settings.schedule, progress)
        for name, parameter in self.parameters.items():
            z, before = z_of(name), parameter.detach().clone()
            parameter.sub_((slope * z).add_(parameter, alpha=self.settings.weight_decay), alpha=lr)
            arrival.note(name, before, parameter, z, epsilon)
        self.updates += 1
        self.sizes = arrival.sizes(epsilon)
        return {"loss": (plus + minus) / 2, "difference": plus - minus, "slope": slope, "lr": lr,
                **arrival.figures(epsilon)}
