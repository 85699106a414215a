"""ZOPrO's directions with one thing changed, each: what the axis is, how long z is, and what the noise is kept off."""

from __future__ import annotations

import math

import torch

from baselines import hyperparameters as hp
from baselines.contract import History, Noise
from baselines.estimators.directions.informed import TINY, Informed, inner
from benchmark.core.checkpoint import Saved


def length(tensor: torch.Tensor) -> float:
    return math.sqrt(inner(tensor, tensor))


def rescaled(tensor: torch.Tensor, to: float) -> torch.Tensor:
    """``tensor`` at the length ``to``; as it is if it has none."""
    here = length(tensor)
    return tensor * (to / here) if here > TINY else tensor


class LastUpdate(Informed):
    """The axis is the last update, not the sum of those of the previous iteration, whose length it is given: steps of
    this estimator are as long as its slopes are steep, and z would shrink or grow with them from update to update."""

    copies, learns = 3.0, True

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.InformedSettings):
        super().__init__(parameters, settings)
        self.last: dict[str, torch.Tensor] = {}  # of length 1; none before the first update after the warm start

    def axis(self, name: str) -> torch.Tensor:
        last, previous = self.last.get(name), super().axis(name)
        return previous if last is None else rescaled(last, length(previous))

    def noted(self, name: str, estimate: torch.Tensor) -> None:
        if length(estimate) > TINY:  # an update that moved nothing has no direction
            self.last[name] = rescaled(-estimate, 1.0)

    def state(self) -> Saved:
        return {**super().state(), "last": self.last}

    def load_state(self, state: Saved) -> None:
        super().load_state(state)
        self.last = {name: state["last"][name].to(p.device) for name, p in self.parameters.items()
                     if name in state["last"]}


class StartNorm(Informed):
    """z stays as long as the warm start's update, per tensor, however short later iterations' updates are."""

    def begin_iteration(self, iteration: int, history: History) -> None:
        super().begin_iteration(iteration, history)
        start = self._on_device(history.policy_update(0))
        self.previous = {name: rescaled(update, length(start[name])) for name, update in self.previous.items()}


class ScaledRate(Informed):
    """The step is lr · g z / ‖prev‖²: as long as lr times the gradient's share along z, whatever the length of z."""

    def begin_iteration(self, iteration: int, history: History) -> None:
        super().begin_iteration(iteration, history)
        self.square = max(sum(inner(update, update) for update in self.previous.values()), TINY**2)

    def followed(self, name: str, theta: torch.Tensor, noise: Noise, z: torch.Tensor) -> torch.Tensor:
        return z / self.square


class OffPrevious(Informed):
    """The noise is kept off the previous update itself, not off the reward model's."""

    def off(self, name: str) -> torch.Tensor | None:
        return self.previous[name]


class AlongReward(Informed):
    """The noise is kept along the reward model's update: of it, only the sign is random."""

    def off(self, name: str) -> torch.Tensor | None:
        return None

    def noise(self, name: str, noise: Noise) -> torch.Tensor:
        e, reward = super().noise(name, noise), self.reward_update.get(name)
        if reward is None or (square := inner(reward, reward)) <= TINY**2:
            return e
        return reward * (inner(reward, e) / square)


class PlusReward(Informed):
    """The axis is the previous update plus the reward model's at equal length, as long as the previous update."""

    def axis(self, name: str) -> torch.Tensor:
        previous, reward = super().axis(name), self.reward_update.get(name)
        if reward is None:
            return previous
        size = length(previous)
        return rescaled(previous + rescaled(reward, size), size)
