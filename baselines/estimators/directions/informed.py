"""ZOPrO's directions (Galatolo et al. 2025, arXiv 2503.03460): informed by earlier updates.

Iteration 0 is a first-order warm start, the method's own business. After it, per tensor,

    z = a · prev + √(1 − a²) · n,    n = ‖prev‖ · e⊥ / ‖e⊥‖,    e⊥ = e − (v̂·e) v̂,    e ~ N(0, I)

where prev is the policy's update over the previous iteration, v̂ the direction of the reward model's last update, and a
falls from 0.999 over the iteration.
"""

from __future__ import annotations

import math

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, History, Noise, Progress
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.lm.adapted import Tensors

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


def decayed(settings: hp.InformedSettings, progress: float, update: int) -> float:
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


class Informed(Direction):
    """z along the previous update, and noise beside it."""

    settings: hp.InformedSettings
    copies = 2.0  # prev, and the reward model's update

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.InformedSettings):
        super().__init__(parameters, settings)
        self.previous: Tensors = {}
        self.reward_update: Tensors = {}
        self.first_update: int | None = None  # of the present iteration; None = it has made none
        self.weight = 0.0  # a

    def begin_iteration(self, iteration: int, history: History) -> None:
        if not iteration:
            raise RunError("informed: there is no update before the first iteration to perturb along. Give the method "
                           "a warm start.")
        self.first_update = None
        self.previous = self._on_device(history.policy_update(iteration - 1))
        self.reward_update = self._on_device(history.reward_update(iteration - 1)) if self.settings.project else {}
        if any(update.norm() > TINY for update in self.previous.values()):
            return
        if iteration == 1:
            raise RunError("informed: the policy did not move in the warm start, so there is no previous update to "
                           "perturb along. Raise warm_start_lr or the budget.")
        # A result, not a failure: ‖z‖ follows the previous update, so updates that vanish once stay away for good.
        if not self.warnings:
            self.warnings.append(f"no longer moves: the policy's update of iteration {iteration} is exactly zero, and "
                                 f"so is every later perturbation")

    def begin(self, update: int, progress: Progress) -> None:
        self.first_update = update if self.first_update is None else self.first_update
        self.weight = decayed(self.settings, progress.iteration, update - self.first_update)

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        return informed_direction(self.noise(name, noise), self.axis(name), self.off(name), self.weight,
                                  self.settings.match_norm)

    def noise(self, name: str, noise: Noise) -> torch.Tensor:
        """e."""
        return noise()

    def axis(self, name: str) -> torch.Tensor:
        """prev."""
        return self.previous[name]

    def off(self, name: str) -> torch.Tensor | None:
        """What the noise is kept orthogonal to."""
        return self.reward_update.get(name)

    def figures(self) -> dict[str, float]:
        return {"weight": self.weight}

    def state(self) -> Saved:
        """Updates of policy and reward model are not in it: ``begin_iteration`` reads them anew."""
        return {"first_update": self.first_update}

    def load_state(self, state: Saved) -> None:
        self.first_update = state["first_update"]

    def _on_device(self, update: Tensors) -> Tensors:
        return {name: update[name].to(p.device, p.dtype) for name, p in self.parameters.items()}
