"""What the parts of a method promise each other. None of them sees a clock's limit, a file or the name of a task.

A method is an *objective* (what is minimised) and an *estimator* (how its descent is found). The loop hands the
estimator a *problem*: the objective's loss on the present batch, with all its micro-batches. A first-order estimator
asks the problem for gradients; a zeroth-order one reads its value at points that a *probe* chooses along what a
*direction* draws. What is done with the estimate of the gradient is a *rule*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from baselines.noise import Factors, Noise
from baselines.update import Update
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import ConfigError
from benchmark.lm.adapted import Tensors
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.rollout import AnyBatch, Sampler
from benchmark.lm.training import Pair

if TYPE_CHECKING:
    from torch.nn import Parameter


@dataclass(frozen=True)
class Context:
    """The world of an objective.

    Attributes:
        policy: π, with its reference inside.
        sampler: makes rollouts of the current policy, scored by the current reward model.
        new_critic: builds a trainable value model that starts from r₀.
        pairs: the task's training pairs, preferred completion first.
        sequences: completions, or sequences of pairs, per update: the same for every method.
        temperature: of rollouts and of the policy they define. seed: the run's seed.
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
    """Updates of policy and reward model over the iterations, as differences of their trained tensors."""

    def policy_update(self, iteration: int) -> Tensors:
        """Policy after ``iteration`` minus before it."""

    def reward_update(self, iteration: int) -> Tensors:
        """Reward model after the refinement of ``iteration`` minus before."""


class Objective:
    """What is minimised. Turns prompts or pairs into a scalar loss of the current policy; updates no parameter.

    Attributes:
        sampled: whether the loss samples completions, and so has no gradient and takes many forward passes.
        rollout_passes: forward passes of a rollout per completion (generation, π₀, reward model); of the task's own
            pairs per sequence.
        reading_passes: those of one reading of the loss. parameters: trained beside the policy's (PPO's critic).
        warm: whether the present phase is the method's warm start; the loop says so.
    """

    sampled = warm = False
    rollout_passes, reading_passes = 3, 1

    def __init__(self, context: Context, settings: Any):
        self.context, self.settings = context, settings
        self.parameters: dict[str, Parameter] = {}

    @property
    def epochs(self) -> int:
        """Updates on each batch."""
        return getattr(self.settings, "epochs", 1)

    @property
    def pairs_read(self) -> int:
        """Of the task's own pairs, repetitions included."""
        return 0

    def collect(self) -> AnyBatch:
        """The next batch to learn from."""
        raise NotImplementedError

    def loss(self, batch: Any) -> torch.Tensor:
        """Scalar loss of a micro-batch; micro-batch losses add up to the loss of their batch."""
        return self.examples(batch).sum() / batch.rows

    def examples(self, batch: Any) -> torch.Tensor:
        """Losses (n,) of a micro-batch's examples (completions, pairs), whose sum over ``batch.rows`` is its loss."""
        raise NotImplementedError

    def compared(self, batch: Any) -> torch.Tensor:
        """Log-probabilities (B, 2) of preferred and other completions; ConfigError if there are no pairs."""
        raise ConfigError(f"{type(self).__name__} has no pairs to compare. Use an objective that has.")

    def state(self) -> Saved:
        """All that the next batches depend on, models of its own included: a checkpoint's part (see
        :mod:`benchmark.core.checkpoint`)."""
        return {"sampler": self.context.sampler.state()}

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``, in a new object made with the same arguments."""
        self.context.sampler.load_state(state["sampler"])


class Problem(Protocol):
    """The loss of the present batch at the present parameters, all micro-batches of it."""

    @property
    def sampled(self) -> bool:
        """As the objective's."""

    def value(self) -> float:
        """The loss, without gradient."""

    def backward(self) -> float:
        """The loss; its gradients are added to ``.grad``."""

    def derivative(self) -> tuple[float, float]:
        """The loss and its derivative along the tangents of the parameters (torch.autograd.forward_ad)."""

    def terms(self, *seed: object) -> list[float]:
        """Parts that add up to :meth:`value`, over rows in an order drawn from the stream ``seed``."""

    def compared(self) -> torch.Tensor:
        """Log-probabilities (B, 2) of preferred and other completions."""

    def each(self) -> Sequence[Problem]:
        """The losses of the single examples, which add up to :meth:`value`."""

    def together(self) -> Sequence[Problem]:
        """Micro-batches of examples that share no computation, so that each can have parameters of its own."""

    @property
    def size(self) -> int:
        """Examples."""

    def examples(self) -> list[float]:
        """The losses of the examples, which add up to :meth:`value`."""


class Direction:
    """The law of the perturbation z. A subclass overrides :meth:`z`, and what else it needs.

    A *latent* direction searches a subspace: it draws coordinates, maps them to tensors by :meth:`lift`, and rules act
    on coordinates, so that their state has the size of the subspace.

    Attributes:
        copies: state, in copies of the trained parameters.
        learns: whether :meth:`noted` wants every estimate.
        renewed: whether :meth:`begin` has changed the subspace, so that what a rule remembers is to be carried over.

    Args:
        parameters: what is trained, by name. settings: its hyperparameters.
    """

    copies = 0.0
    latent = learns = renewed = False

    def __init__(self, parameters: dict[str, Parameter], settings: Any):
        self.parameters, self.settings = parameters, settings
        self.warnings: list[str] = []  # what a reader of the result must know; shown with the run's row

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Called before the first update of every iteration."""

    def begin(self, update: int, progress: Progress) -> None:
        """Called before every update; ``update`` counts those made before it."""

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor | None:
        """z of one tensor, in its shape; None = this tensor stays as it is. Asked for more than once an update: the
        same arguments must give the same bits."""
        coordinates = self.coordinates(name, theta, noise)
        return None if coordinates is None else self.lift(name, theta, coordinates).to(theta.dtype)

    def coordinates(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor | None:
        """Of a latent direction: those of z in the subspace."""
        raise NotImplementedError

    def lift(self, name: str, theta: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """Of a latent direction: coordinates → a tensor in θ's shape. Linear. Called after :meth:`coordinates`."""
        raise NotImplementedError

    def latent_shape(self, name: str, theta: torch.Tensor) -> tuple[int, ...]:
        """Of a latent direction: the shape of the coordinates."""
        raise NotImplementedError

    def measured(self, losses: Sequence[float]) -> None:
        """Told the readings of the present update, before it is made."""

    def followed(self, name: str, theta: torch.Tensor, noise: Noise, z: torch.Tensor) -> torch.Tensor:
        """What a sample's weight multiplies in the estimate; z itself unless the direction is latent or bent."""
        found = self.coordinates(name, theta, noise) if self.latent else z
        assert found is not None  # z is there, so are its coordinates
        return found

    def noted(self, name: str, estimate: torch.Tensor) -> None:
        """Told the estimate of a tensor (of its coordinates), before a rule makes anything of it."""

    def carried(self, name: str, theta: torch.Tensor, noise: Noise, moment: torch.Tensor) -> torch.Tensor | None:
        """What a rule remembers of a tensor, in its shape, after the subspace has changed; None = it forgets the
        tensor."""
        return moment

    def factors(self, name: str, theta: torch.Tensor, noises: Sequence[Noise]) -> Factors | None:
        """z of several samples as U ∘ rᵢ sᵢᵀ, by which all are read in one pass; None where it has no such form."""
        return None

    def figures(self) -> dict[str, float]:
        """For the log of the present update."""
        return {}

    def state(self) -> Saved:
        """All that the next z depend on, apart from what ``begin_iteration`` reads."""
        return {}

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``; within an iteration, ``begin_iteration`` was called for it before."""


class Probe:
    """Where the loss is read, and what the readings say. The estimate is Σ wᵢ zᵢ over samples i.

    Attributes:
        epsilon: size of the perturbations.
        exact: whether derivatives along z are read (forward-mode differentiation) in the place of losses.
        tries: multiples of the rule's step at which the batch is read again; the best is kept, the first of equals.
        each: whether every example of a batch is a sample of its own: its loss is read at its own z, at the scales of
            :meth:`points`, and :meth:`weights` has the readings of one example after the other.
    """

    epsilon: float
    exact = each = False
    tries: tuple[float, ...] = ()

    def __init__(self, settings: Any):
        self.settings, self.epsilon = settings, settings.epsilon

    @property
    def forwards(self) -> int:
        """Readings of the loss an update, each a forward pass over the batch."""
        raise NotImplementedError

    def points(self) -> list[tuple[int, float]]:
        """(sample, scale) of every reading: L(θ + scale · z of that sample); scale 0 is θ itself."""
        raise NotImplementedError

    def weights(self, losses: Sequence[float]) -> dict[int, float]:
        """Sample → its weight in the estimate, from the readings in the order of :meth:`points`; none = no update."""
        raise NotImplementedError

    def state(self) -> Saved:
        """All that the next weights depend on."""
        return {}

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``."""


class Rule:
    """What is done with an estimate of the gradient."""

    copies = 0.0  # state, in copies of the trained parameters

    def __init__(self, parameters: dict[str, Parameter], settings: Any):
        self.parameters, self.settings = parameters, settings

    def begin_iteration(self, iteration: int) -> None:
        """Called before the first update of every iteration."""

    def step(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        """Update the tensors ``names`` from their estimate, flattened one after the other (n,); it may be overwritten.
        An update calls this for groups of names that together are all that are updated."""
        raise NotImplementedError

    def carry(self, carried: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
        """Replace all that is remembered of a tensor: ``carried`` takes its name and a moment in its shape; None =
        begin anew."""

    def apply(self, lr: float) -> None:
        """Update everything from ``.grad``."""
        found = {name: p.grad.flatten() for name, p in self.parameters.items() if p.grad is not None}
        self.step(list(found), torch.cat(list(found.values())), lr)

    def state(self) -> Saved:
        return {}

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``."""


class Estimator(Protocol):
    """How the descent is found. Sees a problem and tensors, never a task."""

    parameters: dict[str, Parameter]  # what it updates

    @property
    def warnings(self) -> list[str]:
        """What a reader of the result must know; shown with the run's row."""

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Called before the first update of every iteration."""

    def step(self, problem: Problem, progress: Progress) -> Update:
        """Make one update. RunError if the loss is not finite."""

    def state(self) -> Saved:
        """All that the next updates depend on, apart from the parameters and what ``begin_iteration`` reads."""

    def load_state(self, state: Saved) -> None:
        """Go on from ``state``; within an iteration, ``begin_iteration`` was called for it before."""


def scheduled(lr: float, schedule: str, progress: Progress) -> float:
    """Learning rate at ``progress``: constant, or linear to zero over the run or over each iteration."""
    if schedule == "constant":
        return lr
    done = progress.run if schedule == "linear" else progress.iteration
    return lr * max(0.0, 1.0 - done)
