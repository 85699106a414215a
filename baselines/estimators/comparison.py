"""ComPO's comparison oracle (Chen et al. 2025, arXiv 2505.05465): of every perturbation one bit is learned.

    cᵢ = −1 where the chosen completion gains by εzᵢ and the rejected one loses, else +1
    ĝ = u/‖u‖, u = Σ cᵢ zᵢ;  θ ← θ − lr · n/M · (ĝ less its small entries), n = how many of the M cᵢ are −1
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from baselines import hyperparameters as hp
from baselines.contract import History, Noise, Problem, Progress, Update, scheduled
from baselines.estimators.perturbation import Perturbed
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import RunError
from benchmark.lm.adapted import Tensors


class Comparison:
    """No update is made where too few perturbations help, or where a long trial step does not."""

    copies = 1.0  # u, in float32

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.ComparisonSettings, seed: int):
        self.parameters, self.settings, self.seed, self.updates = parameters, settings, seed, 0
        self.warnings: list[str] = []

    @staticmethod
    def forwards(settings: hp.ComparisonSettings) -> int:
        """θ, its perturbations, the trial step."""
        return 1 + settings.samples + (settings.trial > 0)

    def begin_iteration(self, iteration: int, history: History) -> None:
        """Nothing lasts longer than an update."""

    def state(self) -> Saved:
        return {"updates": self.updates}

    def load_state(self, state: Saved) -> None:
        self.updates = state["updates"]

    def z(self, sample: int, name: str) -> torch.Tensor:
        """z of one tensor in the present update."""
        return Noise(self.parameters[name].data, name, self.seed, self.updates, sample)()

    @torch.no_grad()
    def read(self, problem: Problem, progress: Progress) -> tuple[torch.Tensor, dict[int, float], partial]:
        """Compare; return the log-probabilities (B, 2) at θ, sample → its weight in u, and (sample, name) → z.

        Raises:
            RunError: a log-probability is not finite.
        """
        here = problem.compared()
        signs = [-1.0 if self._better(problem, here, partial(self.z, sample), self.settings.epsilon) else 1.0
                 for sample in range(self.settings.samples)]
        centre = sum(signs) / len(signs) if self.settings.centred else 0.0
        return here, {sample: sign - centre for sample, sign in enumerate(signs)}, partial(self.z)

    def _better(self, problem: Problem, here: torch.Tensor, z_of: Callable[[str], torch.Tensor], scale: float) -> bool:
        """Whether at θ + scale · z what is chosen is likelier than ``here``, and what is rejected less likely."""
        with Perturbed(self.parameters, lambda name: self.parameters[name].data.add(z_of(name), alpha=scale)):
            there = problem.compared()
        if not (here.isfinite().all() and there.isfinite().all()):
            raise RunError("diverged: the log-probabilities of the pairs are not finite. Lower lr or epsilon.")
        chosen, rejected = (there.double() - here.double()).sum(0).tolist()
        return chosen > 0 > rejected

    @torch.no_grad()
    def step(self, problem: Problem, progress: Progress) -> Update:
        settings = self.settings
        here, weights, z = self.read(problem, progress)
        share = sum(weight < 0 for weight in weights.values()) / len(weights)
        lr, kept, length = scheduled(settings.lr, settings.schedule, progress), 0.0, 0.0
        if share and share >= settings.least:
            direction, kept = self._direction(weights, z)
            if not settings.trial or self._better(problem, here, direction.__getitem__, -settings.trial):
                for name, parameter in self.parameters.items():
                    parameter.data.sub_(direction[name], alpha=lr * share)
                length = lr * share * sum(part.float().square().sum().item() for part in direction.values()) ** 0.5
        self.updates += 1
        loss = (here[:, 1] - here[:, 0]).mean().item()
        return Update(loss, lr, {"better": share, "kept": kept, "step_norm": length})

    def _direction(self, weights: dict[int, float], z: partial) -> tuple[Tensors, float]:
        """ĝ less its small entries, and the share of entries that is kept."""
        total = {name: torch.zeros_like(p.data, dtype=torch.float32) for name, p in self.parameters.items()}
        for sample, weight in weights.items():
            for name, part in total.items() if weight else ():
                part.add_(z(sample, name).float(), alpha=weight)
        entries = sum(part.numel() for part in total.values())
        norm = sum(part.square().sum().item() for part in total.values()) ** 0.5
        least, kept = self.settings.threshold / entries**0.5, 0
        for name, part in total.items():
            part.div_(norm)
            part.mul_(part.abs() >= least)
            kept += int(part.count_nonzero())
            total[name] = part.to(self.parameters[name].dtype)
        return total, kept / entries
