"""The paper's illustration, computed: first-order, zeroth-order and ZOPrO paths down a quadratic bowl.

The paths are those of the suite's own estimators (:mod:`baselines.estimators`), called as a run calls them. The bowl is
drawn in two dimensions and run again in a thousand, where a random direction is worth what it is worth in a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from baselines.contract import Problem, Progress
from baselines.registry import get_method
from benchmark.core.seeding import generator
from benchmark.lm.adapted import Tensors

CURVATURES = (1.0, 6.0)  # smallest and largest
START = (-1.7, 0.75)
ITERATIONS, UPDATES = 4, 12  # of each iteration
DIMENSIONS = (2, 1000)
LEARNING_RATE = 0.05  # of AdamW, in two dimensions; in others it moves as far in all


@dataclass(frozen=True)
class Path:
    """What one estimator did: name as in ``reporting.style``, points (updates + 1, d), losses (updates + 1,)."""

    method: str
    points: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class BowlProblem:
    """The loss of the bowl at the present point: it has no data, so a batch is always the whole."""

    loss: Callable[[torch.Tensor], torch.Tensor]
    parameters: dict[str, torch.nn.Parameter]
    sampled = False

    def value(self) -> float:
        # The product with the parameter itself is what a perturbed forward pass replaces.
        return self.loss(self.parameters["x"] * 1.0).item()

    def backward(self) -> float:
        loss = self.loss(self.parameters["x"])
        loss.backward()
        return loss.item()

    def terms(self, *seed: object) -> list[float]:
        return [self.value()]


class Past:
    """Updates over iterations, as a run's store tells them.

    The reward model's update is made to be what the paper reads off its pictures: as long as the policy's, and
    orthogonal to it.
    """

    def __init__(self, ends: list[torch.Tensor]):
        self.ends = ends

    def policy_update(self, iteration: int) -> Tensors:
        return {"x": self.ends[iteration + 1] - self.ends[iteration]}

    def reward_update(self, iteration: int) -> Tensors:
        update = self.policy_update(iteration)["x"]
        other = torch.randn(update.shape, generator=generator("bowl", "reward", iteration))
        unit = update / update.norm().clamp(min=1e-12)
        other = other - unit * (unit @ other)
        return {"x": other * update.norm() / other.norm()}


def bowl(dimensions: int) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """L(x) = ½ Σ cᵢxᵢ² with the curvatures spread evenly, and a start at the same distance in any dimension."""
    curvatures = torch.linspace(*CURVATURES, dimensions)
    if dimensions == len(START):
        start = torch.tensor(START)
    else:
        start = torch.randn(dimensions, generator=generator("bowl", "start", dimensions))
        start *= torch.tensor(START).norm() / start.norm()
    return lambda x: (curvatures * x * x).sum() / 2, start


def paths(dimensions: int, seed: int = 0) -> list[Path]:
    """The paths of backpropagation, Gaussian SPSA and ZOPrO, from one start and with equally many updates.

    The zeroth-order learning rates are those of the best step on average: 1 / (mean curvature × (d + 2)) along Gaussian
    z, 1 / (mean curvature × ‖prev‖²) along ZOPrO's.
    """
    rate, mean = LEARNING_RATE * (2 / dimensions) ** 0.5, sum(CURVATURES) / 2
    found = [descend("rloo", dimensions, seed, lr=rate, schedule="constant", max_grad_norm=0.0)]
    found.append(descend("mezo", dimensions, seed, lr=1 / (mean * (dimensions + 2)), epsilon=1e-3))
    previous = found[0].points[UPDATES] - found[0].points[0]  # ZOPrO's warm start is backpropagation's first iteration
    for method in ("zopro", "zopro-no-projection"):
        found.append(descend(method, dimensions, seed, lr=1 / (mean * float(previous @ previous)), epsilon=1e-3,
                             schedule="constant", warm_start_lr=rate))
    return found


def descend(name: str, dimensions: int, seed: int, **values: Any) -> Path:
    """Let a method's estimator go down the bowl for ``ITERATIONS`` × ``UPDATES`` updates."""
    value, start = bowl(dimensions)
    parameters = {"x": torch.nn.Parameter(start.clone())}
    method = get_method(name)
    problem = cast(Problem, BowlProblem(value, parameters))  # these estimators ask for no more than it has
    values = method.resolved({name: values})
    ends, points, losses = [start.clone()], [start.clone()], [value(start).item()]
    for iteration in range(ITERATIONS):
        if iteration in (0, method.warm_start):
            estimator = method.make_estimator(parameters, values, seed, warm=iteration < method.warm_start)
        estimator.begin_iteration(iteration, Past(ends))
        for update in range(UPDATES):
            estimator.step(problem, Progress((iteration + update / UPDATES) / ITERATIONS, update / UPDATES))
            points.append(parameters["x"].detach().clone())
            losses.append(value(points[-1]).item())
        ends.append(points[-1])
    return Path(name, torch.stack(points).double().numpy(), np.array(losses))
