"""Zeroth-order descent: the loss is read at perturbed parameters, and nothing is back-propagated.

What is drawn is a direction's business, where the loss is read and what the readings say a probe's, what is done with
the estimate a rule's; this is how the three are put together. Gaussian × two points × SGD is MeZO (Malladi et al. 2023,
arXiv 2305.17333), that is, SPSA (Spall 1992) with Gaussian directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch

from baselines.contract import Direction, History, Noise, Probe, Problem, Progress, Rule, Update, scheduled
from baselines.estimators.health import Arrival
from baselines.estimators.perturbation import Perturbed, moved
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError

GROUPED_ENTRIES = 2**18  # small tensors are updated together, up to so many entries at a time


class ZerothOrder:
    """ĝ = Σ wᵢ zᵢ, and a rule's step along it.

    The losses are read with perturbed tensors in the place of θ's, which itself is written to by the rule alone.

    Args:
        stream: make each tensor of z anew whenever it is needed instead of keeping z for the length of an update: one
            tensor of memory instead of a copy of all, for noise made several times instead of once.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], direction: Direction, probe: Probe, rule: Rule,
                 seed: int, stream: bool = False):
        self.parameters, self.direction, self.probe, self.rule = parameters, direction, probe, rule
        self.seed, self.stream, self.updates = seed, stream, 0
        self.groups = grouped(parameters)

    @property
    def warnings(self) -> list[str]:
        return self.direction.warnings

    def begin_iteration(self, iteration: int, history: History) -> None:
        self.direction.begin_iteration(iteration, history)
        self.rule.begin_iteration(iteration)

    def state(self) -> Saved:
        return {"updates": self.updates, "warnings": self.warnings, "direction": self.direction.state(),
                "rule": self.rule.state()}

    def load_state(self, state: Saved) -> None:
        self.updates, self.direction.warnings = state["updates"], state["warnings"]
        self.direction.load_state(state["direction"])
        self.rule.load_state(state["rule"])

    def z(self, sample: int, name: str) -> torch.Tensor | None:
        """z of one tensor in the present update."""
        theta = self.parameters[name].data
        return self.direction.z(name, theta, Noise(theta, name, self.seed, self.updates, sample))

    @torch.no_grad()
    def read(self, problem: Problem, progress: Progress) -> tuple[list[float], dict[int, float], Callable]:
        """Read the losses of the present update; return them, the weights that they give, and (sample, name) → z.

        Raises:
            RunError: a weight is not finite.
        """
        self.direction.begin(self.updates, progress)
        points, kept = self.probe.points(), {}

        def z(sample: int, name: str) -> torch.Tensor | None:
            if self.stream:
                return self.z(sample, name)
            if (sample, name) not in kept:
                kept[sample, name] = self.z(sample, name)
            return kept[sample, name]

        losses = [self._loss_at(problem, partial(z, sample), scale) for sample, scale in points]
        weights = self.probe.weights(losses)
        if not all(map(math.isfinite, weights.values())):
            listed = " and ".join(f"{loss}" for loss in losses)
            raise RunError(f"diverged: the perturbed losses are {listed}. Lower lr or epsilon.")
        return losses, weights, z

    def _loss_at(self, problem: Problem, z_of: Callable[[str], torch.Tensor | None], scale: float) -> float:
        """L(θ + scale · z)."""
        def value(name: str) -> torch.Tensor:
            theta, z = self.parameters[name].data, z_of(name)
            return theta if z is None else theta.add(z, alpha=scale)

        if not scale:
            return problem.value()
        # Many forward passes (a loss that samples) are worth a copy of what is trained; one makes a tensor at a time.
        with (moved if problem.sampled else Perturbed)(self.parameters, value):
            return problem.value()

    @torch.no_grad()
    def step(self, problem: Problem, progress: Progress) -> Update:
        losses, weights, z = self.read(problem, progress)
        settings, epsilon = self.rule.settings, self.probe.epsilon
        lr = scheduled(settings.lr, settings.schedule, progress)
        arrival, sizes = Arrival(epsilon), {}
        for names, zs in self._perturbed(z, min(weights, default=0)):
            sizes |= {name: epsilon * part.float().norm().item() for name, part in zip(names, zs, strict=True)}
            first, estimate = flat(zs), None
            for sample, weight in weights.items():
                term = weight * (first if sample == min(weights) else flat([z(sample, name) for name in names]))
                estimate = term if estimate is None else estimate.add_(term)
            before = flat([self.parameters[name].data for name in names], copy=True)
            if estimate is not None:
                self.rule.step(names, estimate, lr)
            arrival.note(before, flat([self.parameters[name].data for name in names]), first)
        self.updates += 1
        slope = next(iter(weights.values())) if len(weights) == 1 else math.hypot(*weights.values())
        return Update(sum(losses) / len(losses), lr, {"slope": slope, **arrival.figures(), **self.direction.figures()},
                      tuple(losses), sizes)

    def _perturbed(self, z: Callable, sample: int) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
        """Names and z of one sample, group by group, without the tensors that stay as they are."""
        for names in self.groups:
            found = {name: part for name in names if (part := z(sample, name)) is not None}
            if found:
                yield list(found), list(found.values())


def flat(tensors: list[torch.Tensor], copy: bool = False) -> torch.Tensor:
    """All entries as one (n,); of a single tensor a view, unless a ``copy`` is asked for."""
    if len(tensors) > 1:
        return torch.cat([tensor.reshape(-1) for tensor in tensors])
    return tensors[0].reshape(-1).clone() if copy else tensors[0].reshape(-1)


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
