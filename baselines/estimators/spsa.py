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
from benchmark.errors import RunError
from benchmark.rollout import Batch
from benchmark.seeding import derive_seed, generator


class SPSA:
    """g = (L(θ + εz) − L(θ − εz)) / 2ε;  θ ← θ − lr·(g z + weight_decay·θ).

    z is never stored: each tensor's part comes from a random stream named by (seed, update, tensor), so it is the same
    whenever it is asked for, whatever the order and however the batch is split. θ is kept as a copy and put back from
    it, so a perturbation leaves no rounding behind.
    """

    phase = "optimisation"

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SPSA | hp.ZOPrO, seed: int,
                 micro_batch: int):
        self.parameters, self.settings, self.micro_batch = parameters, settings, micro_batch
        self.seed, self.updates = seed, 0
        self.warnings: list[str] = []
        self.sizes: dict[str, float] = {}

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Nothing to prepare: z does not depend on what happened before."""

    def direction(self, name: str, parameter: torch.Tensor, noise: torch.Generator, progress: Progress) -> torch.Tensor:
        """z for one tensor."""
        return torch.randn(parameter.shape, generator=noise, device=parameter.device, dtype=parameter.dtype)

    def _direction(self, name: str, progress: Progress) -> torch.Tensor:
        parameter = self.parameters[name]
        seed = derive_seed("perturbation", self.seed, self.updates)
        noise = generator(seed, name, device=parameter.device.type)
        return self.direction(name, parameter, noise, progress)

    @torch.no_grad()
    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        epsilon, arrival = self.settings.epsilon, Arrival()
        theta = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

        def loss_at(scale: float) -> float:
            for name, parameter in self.parameters.items():
                torch.add(theta[name], self._direction(name, progress), alpha=scale, out=parameter.data)
                if scale > 0:
                    arrival.perturbed(theta[name], parameter)
            return sum(loss(part).item() for part in batch.split(self.micro_batch))

        try:
            plus, minus = loss_at(epsilon), loss_at(-epsilon)
        finally:
            for name, parameter in self.parameters.items():
                parameter.copy_(theta[name])
        slope = (plus - minus) / (2 * epsilon)
        if not math.isfinite(slope):
            raise RunError(f"diverged: the perturbed losses are {plus} and {minus}. Lower lr or epsilon.")
        lr = scheduled(self.settings.lr, self.settings.schedule, progress)
        for name, parameter in self.parameters.items():
            z = self._direction(name, progress)
            parameter.sub_((slope * z).add_(parameter, alpha=self.settings.weight_decay), alpha=lr)
            arrival.stepped(name, theta[name], parameter, z)
        self.updates += 1
        self.sizes = arrival.sizes(epsilon)
        return {"loss": (plus + minus) / 2, "difference": plus - minus, "slope": slope, "lr": lr,
                **arrival.figures(epsilon)}
