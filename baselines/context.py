"""What a method is given: models, prompts, pairs and settings. It never sees a clock's limit, a file or a task name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from benchmark.core.checkpoint import Saved
from benchmark.lm.adapted import Tensors
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.rollout import Batch, Sampler
from benchmark.lm.training import Pair


@dataclass(frozen=True)
class Context:
    """The world of an objective.

    Attributes:
        policy: π, with its reference inside.
        sampler: makes rollouts of the current policy, scored by the current reward model.
        new_critic: builds a trainable value model that starts from r₀.
        pairs: the task's training pairs, preferred completion first.
        sequences: completions, or sequences of pairs, per update: the same for every method.
        temperature: of rollouts and of the policy they define.
        seed: the run's seed.
    """

    policy: Policy
    sampler: Sampler
    new_critic: Callable[[], RewardModel]
    pairs: Sequence[Pair]
    sequences: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Progress:
    """Where a run stands, as shares of its budget in [0, 1]: of the whole run, and of the current iteration."""

    run: float
    iteration: float


class History(Protocol):
    """Updates of policy and reward model over the iterations, as differences of their adapters."""

    def policy_update(self, iteration: int) -> Tensors:
        """Adapter after ``iteration`` minus adapter before it."""

    def reward_update(self, iteration: int) -> Tensors:
        """The reward model's adapter after the refinement of ``iteration`` minus before."""


class Objective(Protocol):
    """What is minimised. Turns prompts or pairs into a scalar loss of the current policy; updates no parameter."""

    epochs: int  # updates on each batch
    parameters: dict[str, torch.nn.Parameter]  # trained beside the policy's (PPO's critic)

    def collect(self) -> Batch:
        """The next batch to learn from."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """Scalar loss of a micro-batch; micro-batch losses add up to the loss of their batch."""

    def state(self) -> Saved:
        """All that the next batches depend on, models of its own included: a checkpoint's part (see
        :mod:`benchmark.core.checkpoint`)."""

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``, in a new object made with the same arguments."""


class Estimator(Protocol):
    """How the descent direction is found. Sees a loss and tensors, never a task."""

    parameters: dict[str, torch.nn.Parameter]  # what it updates
    phase: str  # what peak memory is booked under: optimisation, or a phase of its own such as a warm start
    sizes: dict[str, float]  # of a zeroth-order one: ‖εz‖ of each tensor in the last update
    warnings: list[str]  # what a reader of the result must know; shown with the run's row

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Called before the first update of every iteration."""

    def step(self, loss: Callable[[Batch], torch.Tensor], batch: Batch, progress: Progress) -> dict[str, float]:
        """Make one update; return figures for the log, a zeroth-order one ``difference`` = L₊ − L₋ among them.
        RunError if the loss is not finite."""

    def state(self) -> Saved:
        """All that the next updates depend on, apart from the parameters and what ``begin_iteration`` reads."""

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``; within an iteration, ``begin_iteration`` was called for it before."""
