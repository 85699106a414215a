"""Rules: what is done with an estimate of the gradient. One from torch.optim is three lines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import Parameter

from baselines import hyperparameters as hp
from baselines.contract import Rule
from baselines.estimators.flattening import flat, parts
from benchmark.core.checkpoint import Saved, load_optimizer_state, optimizer_state
from benchmark.core.errors import ConfigError


class SGD(Rule):
    """θ ← θ − lr·(ĝ + weight_decay·θ)."""

    settings: hp.SGDSettings

    def step(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        tensors = [self.parameters[name].data for name in names]
        theta = flat(tensors)
        after = theta.sub(self.moved(estimate).add_(theta, alpha=self.settings.weight_decay), alpha=lr)
        for tensor, part in zip(tensors, parts(after, tensors), strict=True):
            tensor.copy_(part)

    def moved(self, estimate: torch.Tensor) -> torch.Tensor:
        """What of the estimate is followed."""
        return estimate


class Sign(SGD):
    """θ ← θ − lr·(sign ĝ + weight_decay·θ) (signSGD, Bernstein et al. 2018, arXiv 1802.04434)."""

    def moved(self, estimate: torch.Tensor) -> torch.Tensor:
        return estimate.sign_()


class Optimizer(Rule):
    """A rule of torch.optim, or any optimiser with that interface. With the schedule ``linear_iteration`` its state is
    new in every iteration, as in a pipeline that builds one trainer per iteration."""

    def __init__(self, parameters: dict[str, Parameter], settings: hp.SGDSettings):
        super().__init__(parameters, settings)
        self.optimizer = self.make(list(parameters.values()))

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        raise NotImplementedError

    def begin_iteration(self, iteration: int) -> None:
        if iteration and self.settings.schedule == "linear_iteration":
            self.optimizer = self.make(list(self.parameters.values()))

    def step(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        tensors = [self.parameters[name] for name in names]
        for tensor, part in zip(tensors, parts(estimate, tensors), strict=True):
            tensor.grad = part
        self.apply(lr)
        self.optimizer.zero_grad(set_to_none=True)

    def apply(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()  # parameters without .grad are left alone

    def carry(self, carried: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
        for name, parameter in self.parameters.items():
            moments = self.optimizer.state.get(parameter, {})
            new = {key: carried(name, moment) for key, moment in moments.items()
                   if torch.is_tensor(moment) and moment.shape == parameter.shape}
            if None in new.values():
                del self.optimizer.state[parameter]
            else:
                moments.update(new)

    def state(self) -> Saved:
        return {"optimizer": optimizer_state(self.optimizer)}

    def load_state(self, state: Saved) -> None:
        load_optimizer_state(self.optimizer, state["optimizer"])


class AdamW(Optimizer):
    """Decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    copies = 2.0

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay)


class Momentum(Optimizer):
    """Heavy ball: m ← μ m + ĝ; θ ← θ − lr·m."""

    copies = 1.0
    settings: hp.MomentumSettings

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.settings.lr, momentum=self.settings.momentum,
                               weight_decay=self.settings.weight_decay)


class Muon(Optimizer):
    """Momentum whose step is orthogonalised by Newton–Schulz iterations (Jordan et al. 2024), for matrices."""

    copies = 1.0
    settings: hp.MuonSettings

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        if others := [tuple(parameter.shape) for parameter in parameters if parameter.ndim != 2]:
            raise ConfigError(f"muon: it updates matrices only, and a tensor of shape {others[0]} is trained. Use "
                              f"adapter.kind=lora, or another rule.")
        return torch.optim.Muon(parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay,
                                momentum=self.settings.momentum)


class Averaged(Momentum):
    """A moving average: m ← μ m + (1 − μ) ĝ, at first m = ĝ; θ ← θ − lr·m."""

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.settings.lr, momentum=self.settings.momentum,
                               dampening=self.settings.momentum, weight_decay=self.settings.weight_decay)


class Adam(AdamW):
    """Adam with decay rates of its own."""

    settings: hp.AdamSettings

    def make(self, parameters: list[Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay,
                                 betas=(self.settings.beta1, self.settings.beta2))


class Orthogonal(SGD):
    """θ ← θ − lr·(O + weight_decay·θ), O the estimate of every matrix with its singular values brought near 1. A
    vector is a matrix of one row. Without the momentum and the scale by shape of torch.optim.Muon."""

    def step(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        steps = [newton_schulz(part if part.ndim == 2 else part.view(1, -1))
                 for part in parts(estimate, [self.parameters[name] for name in names])]
        super().step(names, flat(steps), lr)


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Five quintic Newton–Schulz iterations (Jordan et al. 2024): U S Vᵀ → about U Vᵀ, in the matrix's own dtype; its
    singular values end in [0.7, 1.2] unless they were below some thousandths of the norm. Zero stays zero."""
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


class RAdaZO(Rule):
    """Adam whose second moment is that of the first moment, not of the estimate (Shu et al. 2025, arXiv 2502.01014):
    m ← β₁m + (1 − β₁)ĝ; v ← β₂v + (1 − β₂)m²; θ ← θ − lr·(m / √(v + ζ) + weight_decay·θ). Moments are float32."""

    copies = 2.0
    settings: hp.RAdaZOSettings

    def __init__(self, parameters: dict[str, Parameter], settings: hp.RAdaZOSettings):
        super().__init__(parameters, settings)
        self.moments: dict[str, list[torch.Tensor]] = {}  # m and v

    def begin_iteration(self, iteration: int) -> None:
        if iteration and self.settings.schedule == "linear_iteration":
            self.moments = {}

    def step(self, names: list[str], estimate: torch.Tensor, lr: float) -> None:
        settings, tensors = self.settings, [self.parameters[name].data for name in names]
        for name, theta, part in zip(names, tensors, parts(estimate, tensors), strict=True):
            zero = torch.zeros_like(theta, dtype=torch.float32)
            first, second = self.moments.setdefault(name, [zero, zero.clone()])
            first.lerp_(part.float(), 1 - settings.beta1)
            second.lerp_(first.square(), 1 - settings.beta2)
            move = first / (second + settings.zeta).sqrt() + settings.weight_decay * theta
            theta.copy_(theta.float().sub_(move, alpha=lr))

    def carry(self, carried: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
        new = {name: [carried(name, moment) for moment in both] for name, both in self.moments.items()}
        self.moments = {name: [m for m in both if m is not None] for name, both in new.items() if None not in both}

    def state(self) -> Saved:
        return {"moments": self.moments}

    def load_state(self, state: Saved) -> None:
        self.moments = {name: [moment.to(self.parameters[name].device) for moment in both]
                        for name, both in state["moments"].items()}
