"""ESSA (Korotyshova et al. 2025, arXiv 2507.04453): CMA-ES over the singular values of what is trained.

    W = U diag(s) Vᵀ of every trained matrix at the start;  θ(x) = U diag(s + x) Vᵀ
    N members x ~ N(m, σ²C); their losses move m, σ and C (Hansen 2016, arXiv 1604.00772);  θ ← θ(m)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from cmaes import CMA, SepCMA

from baselines import hyperparameters as hp
from baselines.contract import History, Problem, Progress, Update
from baselines.estimators.perturbation import replaced
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import ConfigError, RunError
from benchmark.core.seeding import derive_seed, standard_normal

FULL = 1000  # singular values up to which C is a whole matrix; of more, its diagonal


class SingularValues:
    """A matrix of zeros, such as an adapter's B at its start, has no singular vectors: it gets random ones."""

    copies = 3.0  # W, U and V

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SingularValuesSettings, seed: int):
        self.parameters, self.settings, self.seed = parameters, settings, seed
        self.warnings: list[str] = []
        self._start_at({name: p.data.clone() for name, p in parameters.items() if p.ndim == 2})

    def _start_at(self, start: dict[str, torch.Tensor]) -> None:
        if not start:
            raise ConfigError("essa: no matrix is trained, so there are no singular values. Train an adapter.")
        self.start, self.losses = start, list[list[float]]()
        self.vectors = {name: self._vectors(name, matrix.float()) for name, matrix in start.items()}
        self.sizes = [min(matrix.shape) for matrix in start.values()]
        search = CMA if sum(self.sizes) <= FULL else SepCMA
        self.search = search(np.zeros(sum(self.sizes)), self.settings.sigma, population_size=self.settings.population,
                             seed=derive_seed("cma", self.seed) % 2**32)

    def _vectors(self, name: str, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """U (m, r) and Vᵀ (r, n)."""
        found = matrix if matrix.any() else standard_normal(matrix, "singular vectors", self.seed, name)
        u, _, v = torch.linalg.svd(found, full_matrices=False)
        return u, v

    @staticmethod
    def forwards(settings: hp.SingularValuesSettings) -> int:
        return settings.population

    def begin_iteration(self, iteration: int, history: History) -> None:
        """The search goes on."""

    def state(self) -> Saved:
        """Where the search began and what it was told: it is repeated from there."""
        return {"start": dict(self.start), "losses": torch.tensor(self.losses, dtype=torch.float64)}

    def load_state(self, state: Saved) -> None:
        self._start_at({name: state["start"][name].to(p.device, p.dtype) for name, p in self.parameters.items()
                        if p.ndim == 2})
        for losses in state["losses"].tolist():
            self._tell(self._ask(), losses)

    def _ask(self) -> list[np.ndarray]:
        return [self.search.ask() for _ in range(self.settings.population)]

    def _tell(self, members: list[np.ndarray], losses: list[float]) -> None:
        self.losses.append(losses)
        if min(losses) < max(losses):  # order among equals is no information
            self.search.tell(list(zip(members, losses, strict=True)))

    def at(self, x: np.ndarray) -> dict[str, torch.Tensor]:
        """θ(x), what is no matrix included."""
        parts = torch.from_numpy(x).float().split(self.sizes)
        return {name: p.data for name, p in self.parameters.items()} | {
            name: (matrix + (u * part.to(u.device)) @ v).to(matrix.dtype)
            for part, (name, matrix), (u, v) in zip(parts, self.start.items(), self.vectors.values(), strict=True)}

    @torch.no_grad()
    def step(self, problem: Problem, progress: Progress) -> Update:
        members, losses = self._ask(), []
        for member in members:
            with replaced(self.parameters, self.at(member).__getitem__, problem):
                losses.append(problem.value())
        if not all(map(math.isfinite, losses)):
            raise RunError(f"diverged: the members' losses are {losses}. Lower sigma.")
        before = self.search.mean.copy()
        self._tell(members, losses)
        for name, value in self.at(self.search.mean).items():
            self.parameters[name].data.copy_(value)
        figures = {"step_norm": float(np.linalg.norm(self.search.mean - before)),
                   "spread": float(np.std(losses)), "member_norm": float(np.linalg.norm(members[0] - before))}
        return Update(sum(losses) / len(losses), 1.0, figures)
