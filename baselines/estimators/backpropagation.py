"""Backpropagation: the first-order way to descend an objective."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import History, Problem, Progress, Rule, Update, scheduled
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError


class Backpropagation:
    """The exact gradient of the batch, its norm clipped, and a rule's step along it."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.BackpropagationSettings, rule: Rule):
        self.parameters, self.settings, self.rule = parameters, settings, rule
        self.warnings: list[str] = []

    def begin_iteration(self, iteration: int, history: History) -> None:
        self.rule.begin_iteration(iteration)

    def state(self) -> Saved:
        return self.rule.state()

    def load_state(self, state: Saved) -> None:
        self.rule.load_state(state)

    def step(self, problem: Problem, progress: Progress) -> Update:
        for parameter in self.parameters.values():
            parameter.grad = None
        loss = problem.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.max_grad_norm or float("inf"))
        if not torch.isfinite(norm):
            raise RunError(f"diverged: the gradient norm is {norm.item()} (loss {loss}). Lower the learning rate.")
        lr = scheduled(self.rule.settings.lr, self.rule.settings.schedule, progress)
        self.rule.apply(lr)
        return Update(loss, lr, {"gradient_norm": norm.item()})
