"""Backpropagation with AdamW: the first-order way to descend an objective."""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines import hyperparameters as hp
from baselines.context import History, Progress
from benchmark.core.checkpoint import Saved, load_optimizer_state, optimizer_state
from benchmark.core.errors import RunError
from benchmark.lm.rollout import Batch


def scheduled(lr: float, schedule: str, progress: Progress) -> float:
    """Learning rate at ``progress``: constant, or linear to zero over the run or over each iteration."""
    if schedule == "constant":
        return lr
    done = progress.run if schedule == "linear" else progress.iteration
    return lr * max(0.0, 1.0 - done)


class Backpropagation:
    """One AdamW step per batch; gradients accumulate over micro-batches. With ``linear_iteration`` the optimiser's
    state is new in every iteration, as in a pipeline that builds one trainer per iteration. ``stream`` means nothing
    here."""

    phase = "optimisation"

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.Backpropagation, seed: int,
                 micro_batch: int, stream: bool = False):
        self.parameters, self.settings, self.micro_batch = parameters, settings, micro_batch
        self.warnings: list[str] = []
        self._new_optimizer()

    def _new_optimizer(self) -> None:
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=self.settings.lr,
                                           weight_decay=self.settings.weight_decay)

    def begin_iteration(self, iteration: int, history: History) -> None:
        if iteration and self.settings.schedule == "linear_iteration":
            self._new_optimizer()

    def state(self) -> Saved:
        return {"optimizer": optimizer_state(self.optimizer)}

    def load_state(self, state: Saved) -> None:
        load_optimizer_state(self.optimizer, state["optimizer"])

    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in batch.split(self.micro_batch):
            value = loss(part)
            value.backward()
            total += value.item()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.max_grad_norm or float("inf"))
        if not torch.isfinite(norm):
            raise RunError(f"diverged: the gradient norm is {norm.item()} (loss {total}). Lower the learning rate.")
        for group in self.optimizer.param_groups:
            group["lr"] = scheduled(self.settings.lr, self.settings.schedule, progress)
        self.optimizer.step()
        return {"loss": total, "gradient_norm": norm.item(), "lr": self.optimizer.param_groups[0]["lr"]}
