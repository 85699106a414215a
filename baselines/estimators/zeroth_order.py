"""Zeroth-order descent: the loss is read at perturbed parameters, and nothing is back-propagated.

What is drawn is a direction's business, where the loss is read and what the readings say a probe's, what is done with
the estimate a rule's; this is how the three are put together. Gaussian × two points × SGD is MeZO (Malladi et al. 2023,
arXiv 2305.17333), that is, SPSA (Spall 1992) with Gaussian directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from baselines.contract import Direction, History, Noise, Probe, Problem, Progress, Rule, Update, scheduled
from baselines.estimators.flattening import flat, parts
from baselines.estimators.health import Arrival
from baselines.estimators.perturbation import NotTogether, Perturbed, PerturbedEach, replaced
from baselines.noise import Factors
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import ConfigError, RunError

GROUPED_ENTRIES = 2**18  # small tensors are updated together, up to so many entries at a time
KEPT_SAMPLES = 4  # samples of an update whose z are kept; those of further ones are made anew, as all are by a stream


class ZerothOrderEstimator:
    """ĝ = Σ wᵢ zᵢ, and a rule's step along it.

    The losses are read with perturbed tensors in the place of θ's, which itself is written to by the rule alone.

    Args:
        stream: make each tensor of z anew whenever it is needed instead of keeping z for the length of an update: one
            tensor of memory instead of a copy of all, for noise made several times instead of once.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], direction: Direction, probe: Probe,
                 rule: Callable[[dict[str, torch.nn.Parameter]], Rule], seed: int, stream: bool = False):
        self.parameters, self.direction, self.probe = parameters, direction, probe
        self.seed, self.stream, self.updates = seed, stream, 0
        self.together = True  # whether a probe of examples may read them in one pass
        self.acted = self._latents() if direction.latent else parameters  # what the rule acts on
        self.rule = rule(self.acted)
        self.groups = grouped(parameters)

    def _latents(self) -> dict[str, torch.nn.Parameter]:
        """Coordinates of a step, zero between updates; at least float32, and with them what a rule remembers."""
        return {name: torch.nn.Parameter(torch.zeros(self.direction.latent_shape(name, theta), device=theta.device,
                                                     dtype=torch.promote_types(theta.dtype, torch.float32)))
                for name, theta in self.parameters.items()}

    @property
    def warnings(self) -> list[str]:
        return self.direction.warnings

    def begin_iteration(self, iteration: int, history: History) -> None:
        self.direction.begin_iteration(iteration, history)
        self.rule.begin_iteration(iteration)

    def state(self) -> Saved:
        return {"updates": self.updates, "warnings": self.warnings, "direction": self.direction.state(),
                "probe": self.probe.state(), "rule": self.rule.state()}

    def load_state(self, state: Saved) -> None:
        self.updates, self.direction.warnings = state["updates"], state["warnings"]
        self.direction.load_state(state["direction"])
        self.probe.load_state(state["probe"])
        self.rule.load_state(state["rule"])

    def z(self, sample: int, name: str) -> torch.Tensor | None:
        """z of one tensor in the present update."""
        theta = self.parameters[name].data
        return self.direction.z(name, theta, self._noise(sample, name))

    def _noise(self, sample: int, name: str) -> Noise:
        return Noise(self.parameters[name].data, name, self.seed, self.updates, sample)

    @torch.no_grad()
    def read(self, problem: Problem, progress: Progress) -> tuple[list[float], dict[int, float], Callable]:
        """Read the losses of the present update; return those of the batch, the weights that they give, and (sample,
        name) → z.

        Raises:
            RunError: a loss or a weight is not finite.
        """
        self.direction.begin(self.updates, progress)
        kept: dict[tuple[int, str], torch.Tensor | None] = {}

        def z(sample: int, name: str) -> torch.Tensor | None:
            if self.stream or sample >= KEPT_SAMPLES:
                return self.z(sample, name)
            if (sample, name) not in kept:
                kept[sample, name] = self.z(sample, name)
            return kept[sample, name]

        if self.probe.exact:
            pairs = [self._derivative_along(part, partial(z, sample)) for part, sample, _ in self._points(problem)]
            losses, read = [loss for loss, _ in pairs], [slope for _, slope in pairs]
        elif self.probe.each:
            losses = read = self._losses_of_examples(problem, z)
        else:
            losses = read = [self._loss_at(part, partial(z, sample), scale)
                             for part, sample, scale in self._points(problem)]
        weights = self.probe.weights(read)
        if not all(map(math.isfinite, [*losses, *weights.values()])):
            listed = " and ".join(f"{loss}" for loss in losses)
            raise RunError(f"diverged: the perturbed losses are {listed}. Lower lr or epsilon.")
        if self.probe.each:
            scales = len(self.probe.points())
            losses = [sum(losses[place::scales]) for place in range(scales)]
        self.direction.measured(losses)
        return losses, weights, z

    def _points(self, problem: Problem) -> list[tuple[Problem, int, float]]:
        """What is read, sample and scale of every reading."""
        if not self.probe.each:
            return [(problem, sample, scale) for sample, scale in self.probe.points()]
        return [(part, example, scale) for example, part in enumerate(problem.each())
                for _, scale in self.probe.points()]

    def _losses_of_examples(self, problem: Problem, z: Callable) -> list[float]:
        """Of every example at its own z, its readings one after the other: all examples in one pass where model, loss
        and direction allow for it, else one by one."""
        scales = [scale for _, scale in self.probe.points()]
        if not problem.sampled and self.together:
            try:
                read = [self._losses_together(problem, scale) for scale in scales]
                return [loss for example in zip(*read, strict=True) for loss in example]
            except (NotTogether, NotImplementedError):
                self.together = False
        return [self._loss_at(part, partial(z, sample), scale) for part, sample, scale in self._points(problem)]

    def _losses_together(self, problem: Problem, scale: float) -> list[float]:
        """The losses of the examples, each at θ + scale · z of its own."""
        losses: list[float] = []
        for part in problem.together():
            samples = range(len(losses), len(losses) + part.size)
            with PerturbedEach(self.parameters, cache(partial(self._factors, samples)), scale):
                losses += part.examples()
        return losses

    def _factors(self, samples: Sequence[int], name: str) -> Factors:
        noises = [self._noise(sample, name) for sample in samples]
        found = self.direction.factors(name, self.parameters[name].data, noises)
        if found is None:
            raise NotTogether("a direction without factors")
        return found

    def _loss_at(self, problem: Problem, z_of: Callable[[str], torch.Tensor | None], scale: float) -> float:
        """L(θ + scale · z)."""
        def value(name: str) -> torch.Tensor:
            theta, z = self.parameters[name].data, z_of(name)
            return theta if z is None else theta.add(z, alpha=scale)

        if not scale:
            return problem.value()
        with replaced(self.parameters, value, problem):
            return problem.value()

    def _derivative_along(self, problem: Problem, z_of: Callable[[str], torch.Tensor | None]) -> tuple[float, float]:
        """L(θ) and ⟨∇L, z⟩."""
        if problem.sampled:
            raise ConfigError("forward gradient: a loss that samples has no derivative. Use another objective, or a "
                              "probe of losses.")

        def dual(name: str) -> torch.Tensor:
            theta, z = self.parameters[name].data, z_of(name)
            return theta if z is None else forward_ad.make_dual(theta, z)

        try:  # fused attention has no forward-mode derivative
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), Perturbed(self.parameters, dual):
                return problem.derivative()
        except NotImplementedError as error:
            raise ConfigError(f"forward gradient: torch has no forward-mode derivative of a part of this model "
                              f"({str(error).splitlines()[0]}). Use another architecture, or mezo.") from None

    @torch.no_grad()
    def step(self, problem: Problem, progress: Progress) -> Update:
        losses, weights, z = self.read(problem, progress)
        if self.direction.renewed:
            self.rule.carry(lambda name, moment: self.direction.carried(name, self.parameters[name].data,
                                                                        self._noise(0, name), moment))
        settings, epsilon = self.rule.settings, self.probe.epsilon
        lr = scheduled(settings.lr, settings.schedule, progress)
        arrival, sizes, start = Arrival(epsilon), dict[str, float](), dict[str, torch.Tensor]()
        if self.probe.tries and weights:
            start = {name: p.data.clone() for name, p in self.parameters.items()}
        for names, first in self._perturbed(z, min(weights, default=0)):
            sizes |= {name: epsilon * part.float().norm().item() for name, part in zip(names, first, strict=True)}
            before = flat([self.parameters[name].data for name in names], copy=True)
            if weights:
                self._follow(names, self._estimate(names, first, weights, z), lr)
            arrival.note(before, flat([self.parameters[name].data for name in names]), flat(first))
        self.updates += 1
        slope = next(iter(weights.values())) if len(weights) == 1 else math.hypot(*weights.values())
        figures = {"slope": slope, **arrival.figures(), **self.direction.figures()}
        if start:
            figures["kept"] = kept = self._best_of(problem, start)
            figures |= {"step_norm": abs(kept) * figures["step_norm"], "step_cosine": kept * figures["step_cosine"]}
        return Update(sum(losses) / len(losses), lr, figures, () if self.probe.exact else tuple(losses), sizes)

    def _best_of(self, problem: Problem, start: dict[str, torch.Tensor]) -> float:
        """Read the loss at multiples of the step that was made from ``start``, keep the best, return the multiple."""
        ends = {name: p.data.clone() for name, p in self.parameters.items()}

        def move(multiple: float) -> None:
            for name, parameter in self.parameters.items():
                parameter.data.copy_(ends[name] if multiple == 1 else start[name].lerp(ends[name], multiple))

        losses = []
        for multiple in self.probe.tries:
            move(multiple)
            losses.append(problem.value())
        if not all(map(math.isfinite, losses)):
            move(0.0)
            raise RunError(f"diverged: the losses at multiples of the step are {losses}. Lower lr.")
        best = self.probe.tries[losses.index(min(losses))]
        move(best)
        return best

    def _estimate(self, names: list[str], first: list[torch.Tensor], weights: dict[int, float],
                  z: Callable) -> torch.Tensor:
        """Σ wᵢ zᵢ of some tensors (of their coordinates), flat; ``first``: z of the first sample."""
        estimate: torch.Tensor | None = None
        for sample, weight in weights.items():
            # A latent direction follows coordinates, which it makes without z: further samples are not lifted again.
            zs = first if estimate is None or self.direction.latent else [z(sample, name) for name in names]
            followed = [self.direction.followed(name, self.parameters[name].data, self._noise(sample, name), part)
                        for name, part in zip(names, zs, strict=True)]
            term = weight * flat(followed).to(self.acted[names[0]].dtype)
            estimate = term if estimate is None else estimate.add_(term)
        assert estimate is not None  # without weights there is no update
        return estimate

    def _follow(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        """Have the rule act on some tensors."""
        if self.direction.learns:
            acted = [self.acted[name] for name in names]
            for name, part in zip(names, parts(estimate, acted), strict=True):
                self.direction.noted(name, part)
        self.rule.step(names, estimate, lr)
        for name in names if self.direction.latent else ():
            theta, step = self.parameters[name].data, self.acted[name].data
            theta.mul_(1 - lr * self.rule.settings.weight_decay)  # θ's, which the rule does not see
            theta.add_(self.direction.lift(name, theta, step))
            step.zero_()

    def _perturbed(self, z: Callable, sample: int) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
        """Names and z of one sample, group by group, without the tensors that stay as they are."""
        for names in self.groups:
            found = {name: part for name in names if (part := z(sample, name)) is not None}
            if found:
                yield list(found), list(found.values())


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
