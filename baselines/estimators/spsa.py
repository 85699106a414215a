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
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.core.seeding import derive_seed, standard_normal
from benchmark.lm.rollout import Batch

GROUPED_ENTRIES = 2**18  # small tensors are updated together, up to so many entries at a time


class SPSA:
    """g = (L(θ + εz) − L(θ − εz)) / 2ε;  θ ← θ − lr·(g z + weight_decay·θ).

    Each tensor's part of z comes from a random stream named by (seed, update, tensor), so it is the same whenever it is
    asked for, whatever the order and however the batch is split. The losses are evaluated on perturbed tensors put in
    the place of θ's, which itself is written to by the update alone.

    Args:
        stream: make each tensor of z anew whenever it is needed instead of keeping z for the length of an update: one
            tensor of memory instead of a copy of all, for noise made three times instead of once.
    """

    phase = "optimisation"

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SPSA | hp.ZOPrO, seed: int,
                 micro_batch: int, stream: bool = False):
        self.parameters, self.settings, self.micro_batch = parameters, settings, micro_batch
        self.seed, self.updates, self.stream = seed, 0, stream
        self.warnings: list[str] = []
        self.sizes: dict[str, float] = {}
        self.groups = grouped(parameters)

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Nothing to prepare: z does not depend on what happened before."""

    def state(self) -> Saved:
        return {"updates": self.updates, "warnings": self.warnings}

    def load_state(self, state: Saved) -> None:
        self.updates, self.warnings = state["updates"], state["warnings"]

    def direction(self, name: str, noise: torch.Tensor, progress: Progress) -> torch.Tensor:
        """z for one tensor, from noise e ~ N(0, I) of its shape."""
        return noise

    def _direction(self, name: str, progress: Progress) -> torch.Tensor:
        seed = derive_seed("perturbation", self.seed, self.updates)
        return self.direction(name, standard_normal(self.parameters[name], seed, name), progress)

    @torch.no_grad()
    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        epsilon, arrival = self.settings.epsilon, Arrival(self.settings.epsilon)
        kept = {} if self.stream else {name: self._direction(name, progress) for name in self.parameters}

        def z_of(name: str) -> torch.Tensor:
            return kept[name] if kept else self._direction(name, progress)

        def loss_at(scale: float) -> float:
            with Perturbed(self.parameters, lambda name: self.parameters[name].data.add(z_of(name), alpha=scale)):
                return sum(loss(part).item() for part in batch.split(self.micro_batch))

        plus, minus = loss_at(epsilon), loss_at(-epsilon)
        slope = (plus - minus) / (2 * epsilon)
        if not math.isfinite(slope):
            raise RunError(f"diverged: the perturbed losses are {plus} and {minus}. Lower lr or epsilon.")
        lr = scheduled(self.settings.lr, self.settings.schedule, progress)
        for names in self.groups:
            parts = [z_of(name) for name in names]
            self.sizes |= {name: epsilon * part.float().norm().item() for name, part in zip(names, parts, strict=True)}
            z, theta = flat(parts), flat([self.parameters[name].data for name in names])
            after = theta.sub((slope * z).add_(theta, alpha=self.settings.weight_decay), alpha=lr)
            arrival.note(theta, after, z)
            for name, part in zip(names, after.split([part.numel() for part in parts]), strict=True):
                self.parameters[name].copy_(part.view_as(self.parameters[name]))
        self.updates += 1
        return {"loss": (plus + minus) / 2, "difference": plus - minus, "slope": slope, "lr": lr, **arrival.figures()}


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """All entries as one (n,); no copy is made of a single tensor."""
    return tensors[0].reshape(-1) if len(tensors) == 1 else torch.cat([tensor.reshape(-1) for tensor in tensors])


def grouped(parameters: dict[str, torch.nn.Parameter], limit: int = GROUPED_ENTRIES) -> list[list[str]]:
    """Names in runs of one dtype and at most ``limit`` entries (or a single larger tensor), in order."""
    groups: list[list[str]] = []
    size, dtype = limit, None
    for name, parameter in parameters.items():
        if size + parameter.numel() > limit or parameter.dtype != dtype:
            groups.append([])
            size, dtype = 0, parameter.dtype
        groups[-1].append(name)
        size += parameter.numel()
    return groups
