"""ZOPrO (Galatolo et al. 2025, arXiv 2503.03460): SPSA whose direction is informed by earlier updates.

Iteration 0 is a first-order warm start. After it, per tensor,

    z = a · prev + √(1 − a²) · n,    n = ‖prev‖ · e⊥ / ‖e⊥‖,    e⊥ = e − (v̂·e) v̂,    e ~ N(0, I)

where prev is the policy's update over the previous iteration, v̂ the direction of the reward model's last update, and a
falls from 0.999 over the iteration.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from baselines import hyperparameters as hp
from baselines.context import History, Progress
from baselines.estimators.backpropagation import Backpropagation
from baselines.estimators.spsa import SPSA
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.lm.adapted import Tensors
from benchmark.lm.rollout import Batch

TINY = 1e-12  # norms below it count as no update


def informed_direction(noise: torch.Tensor, previous: torch.Tensor, reward_update: torch.Tensor | None, weight: float,
                       match_norm: bool) -> torch.Tensor:
    """z of one tensor, all arguments of its shape.

    Args:
        noise: e.
        previous: prev.
        reward_update: direction to keep the noise orthogonal to; None or all zero = no projection.
        weight: a, in [0, 1].
        match_norm: scale the noise to ‖prev‖.
    """
    if reward_update is not None and (square := inner(reward_update, reward_update)) > TINY**2:
        noise = noise.sub(reward_update, alpha=inner(reward_update, noise) / square)
    scale = math.sqrt(1 - weight * weight)
    if match_norm:
        scale *= math.sqrt(inner(previous, previous)) / max(math.sqrt(inner(noise, noise)), TINY)
    return (scale * noise).add_(previous, alpha=weight)


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """⟨a, b⟩ of two tensors of one shape, in float32."""
    return torch.dot(a.flatten().float(), b.flatten().float()).item()


def decayed(settings: hp.ZOPrO, progress: float, update: int) -> float:
    """The weight a, clamped to [0, 1].

    Args:
        progress: share of the iteration's budget that is spent (the linear decay reaches 0 at its end).
        update: zeroth-order updates made in this iteration (the exp decay).
    """
    if settings.decay == "constant":
        value = settings.initial_weight
    elif settings.decay == "linear":
        value = settings.initial_weight - progress
    else:
        value = settings.initial_weight * math.exp(-update / settings.exp_time)
    return min(1.0, max(0.0, value))


class ZOPrO(SPSA):
    """Informed SPSA after a first-order warm start."""

    settings: hp.ZOPrO

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.ZOPrO, seed: int, micro_batch: int,
                 stream: bool = False):
        super().__init__(parameters, settings, seed, micro_batch, stream)
        self.warm_start: Backpropagation | None = None
        self.previous: Tensors = {}
        self.reward_update: Tensors = {}
        self.first_update = 0

    @property
    def phase(self) -> str:
        return "optimisation" if self.warm_start is None else "warm_start"

    def begin_iteration(self, iteration: int, history: History) -> None:
        if iteration == 0:
            settings = self.settings
            warm = hp.Backpropagation(lr=settings.warm_start_lr, schedule=settings.schedule,
                                      max_grad_norm=settings.warm_start_max_grad_norm)
            self.warm_start = Backpropagation(self.parameters, warm, self.seed, self.micro_batch)
            return
        self.warm_start = None  # frees the optimiser's state
        for parameter in self.parameters.values():
            parameter.grad = None
        self.first_update = self.updates
        self.previous = self._on_device(history.policy_update(iteration - 1))
        self.reward_update = self._on_device(history.reward_update(iteration - 1)) if self.settings.project else {}
        if any(update.norm() > TINY for update in self.previous.values()):
            return
        if iteration == 1:
            raise RunError("zopro: the policy did not move in the warm start, so there is no previous update to "
                           "perturb along. Raise zopro.warm_start_lr or the budget.")
        # A result, not a failure: ‖z‖ follows the previous update, so updates that vanish once stay away for good.
        if not self.warnings:
            self.warnings.append(f"no longer moves: the policy's update of iteration {iteration} is exactly zero, and "
                                 f"so is every later perturbation")

    def state(self) -> Saved:
        warm_start = self.warm_start.state() if self.warm_start else None
        return {**super().state(), "first_update": self.first_update, "warm_start": warm_start}

    def load_state(self, state: Saved) -> None:
        """Updates of policy and reward model are not in it: ``begin_iteration`` has read them anew."""
        super().load_state(state)
        self.first_update = state["first_update"]
        if self.warm_start and state["warm_start"]:
            self.warm_start.load_state(state["warm_start"])

    def _on_device(self, update: Tensors) -> Tensors:
        return {name: update[name].to(p.device, p.dtype) for name, p in self.parameters.items()}

    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        if self.warm_start is not None:
            return self.warm_start.step(loss, batch, progress)
        weight = decayed(self.settings, progress.iteration, self.updates - self.first_update)
        return {**super().step(loss, batch, progress), "weight": weight}

    def direction(self, name: str, noise: torch.Tensor, progress: Progress) -> torch.Tensor:
        weight = decayed(self.settings, progress.iteration, self.updates - self.first_update)
        return informed_direction(noise, self.previous[name], self.reward_update.get(name), weight,
                                  self.settings.match_norm)
