"""Directions in a subspace of every matrix that is kept for a window of updates: LOZO, ZO-Muon, SubZero.

    z = s · L C Rᵀ,    C ~ N(0, I) new in every sample, L and R new in every window

C are the coordinates: an estimate, and what a rule remembers of it, has their size. What is not a matrix gets Gaussian
noise. L and R are drawn from streams named by the first update of their window, so no state holds them.
"""

from __future__ import annotations

import math

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, Noise, Progress

Bases = tuple[torch.Tensor | None, torch.Tensor | None]  # L (m, r) and R (n, r); None = the identity


class Subspace(Direction):
    """Base: a subclass says what :meth:`bases` are and, by them, the shape of the coordinates."""

    latent = True

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SubspaceSettings):
        super().__init__(parameters, settings)
        self.since = 0  # first update of the present window
        self._kept: dict[str, tuple[int, Bases]] = {}

    def begin(self, update: int, progress: Progress) -> None:
        self.since = update - update % self.settings.window
        self.renewed = 0 < update == self.since

    def matrix(self, name: str, theta: torch.Tensor) -> tuple[int, int] | None:
        """The shape (m, n) in which a tensor is searched; None = not as a matrix."""
        return (theta.shape[0], theta.shape[1]) if theta.ndim == 2 else None

    def rank(self, shape: tuple[int, int]) -> int:
        """r: what is set, at most the smaller side."""
        return min(self.settings.subspace_rank, *shape)

    def bases(self, shape: tuple[int, int], noise: Noise, since: int) -> Bases:
        """L and R of the window that began at update ``since``, at least float32."""
        raise NotImplementedError

    def scale(self, shape: tuple[int, int]) -> float:
        """s."""
        return 1.0

    def latent_shape(self, name: str, theta: torch.Tensor) -> tuple[int, ...]:
        raise NotImplementedError

    def coordinates(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        shape = self.matrix(name, theta)
        if shape and (name not in self._kept or self._kept[name][0] != self.since):
            self._kept[name] = self.since, self.bases(shape, noise, self.since)
        return noise(self.latent_shape(name, theta))

    def lift(self, name: str, theta: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        shape = self.matrix(name, theta)
        if not shape:
            return coordinates
        (left, right), lifted = self._kept[name][1], coordinates.to(torch.promote_types(theta.dtype, torch.float32))
        lifted = lifted if left is None else left @ lifted
        lifted = lifted if right is None else lifted @ right.mT
        return (lifted * self.scale(shape)).view(theta.shape)


def gaussian(noise: Noise, rows: int, rank: int, since: int, what: str) -> torch.Tensor:
    """(rows, rank) of independent N(0, 1), the same for the whole window, at least float32."""
    drawn = noise.shared((rows, rank), since, what)
    return drawn.to(torch.promote_types(drawn.dtype, torch.float32))


def haar(noise: Noise, rows: int, rank: int, since: int, what: str) -> torch.Tensor:
    """(rows, rank) with orthonormal columns, uniformly distributed among those (Haar): Q of a Gaussian matrix with the
    signs of R's diagonal, without which Q follows the sign convention of the library."""
    q, r = torch.linalg.qr(gaussian(noise, rows, rank, since, what))
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)


class LowRank(Subspace):
    """LOZO (Chen et al. 2024, arXiv 2410.07698): z = U Vᵀ with U (m, r) and V (n, r) Gaussian, U the coordinates; what
    is followed is g U Vᵀ / r, for E⟨G, U Vᵀ⟩ U Vᵀ = r G."""

    settings: hp.LowRankSettings

    def bases(self, shape: tuple[int, int], noise: Noise, since: int) -> tuple[None, torch.Tensor]:
        return None, gaussian(noise, shape[1], self.rank(shape), since, "V")

    def latent_shape(self, name: str, theta: torch.Tensor) -> tuple[int, ...]:
        shape = self.matrix(name, theta)
        return (shape[0], self.rank(shape)) if shape else tuple(theta.shape)

    def followed(self, name: str, theta: torch.Tensor, noise: Noise, z: torch.Tensor) -> torch.Tensor:
        u, shape = self.coordinates(name, theta, noise), self.matrix(name, theta)
        if not shape:
            return u
        if self.settings.unevaluated and noise.update == self.since:
            u = noise.shared(u.shape, self.since, "another U")
        return u / self.rank(shape)

    def carried(self, name: str, theta: torch.Tensor, noise: Noise, moment: torch.Tensor) -> torch.Tensor:
        """N V_oldᵀ V_new / n: N V_oldᵀ projected on what V_new can say, for V_newᵀ V_new is about n. In expectation r/n
        of it is left."""
        shape = self.matrix(name, theta)
        if not shape:
            return moment
        old, new = (self.bases(shape, noise, since)[1] for since in (self.since - self.settings.window, self.since))
        return moment @ (old.mT @ new) / shape[1]


class LeftHaar(Subspace):
    """ZO-Muon's (arXiv 2602.17155): z = P Ψ, P (m, r) Haar, Ψ (r, n) the coordinates."""

    def bases(self, shape: tuple[int, int], noise: Noise, since: int) -> Bases:
        return haar(noise, shape[0], self.rank(shape), since, "P"), None

    def latent_shape(self, name: str, theta: torch.Tensor) -> tuple[int, ...]:
        shape = self.matrix(name, theta)
        return (self.rank(shape), shape[1]) if shape else tuple(theta.shape)


class BothHaar(Subspace):
    """SubZero's (Yu et al. 2024, arXiv 2410.08989): z = s U Z Vᵀ, U (m, r) and V (n, r) Haar, Z (r, r) the coordinates,
    s = √(mn) / r, with which E‖z‖² = mn, or 1. A factor of an adapter is searched in its most square shape."""

    settings: hp.BothHaarSettings

    def matrix(self, name: str, theta: torch.Tensor) -> tuple[int, int] | None:
        if theta.ndim != 2 or "lora" not in name:
            return super().matrix(name, theta)
        side = next(side for side in range(math.isqrt(theta.numel()), 0, -1) if theta.numel() % side == 0)
        return side, theta.numel() // side

    def bases(self, shape: tuple[int, int], noise: Noise, since: int) -> Bases:
        left, right = (haar(noise, rows, self.rank(shape), since, what) for rows, what in zip(shape, "UV", strict=True))
        return left, right

    def scale(self, shape: tuple[int, int]) -> float:
        return math.sqrt(shape[0] * shape[1]) / self.rank(shape) if self.settings.match_norm else 1.0

    def latent_shape(self, name: str, theta: torch.Tensor) -> tuple[int, ...]:
        shape = self.matrix(name, theta)
        return (self.rank(shape),) * 2 if shape else tuple(theta.shape)

    def carried(self, name: str, theta: torch.Tensor, noise: Noise, moment: torch.Tensor) -> torch.Tensor | None:
        return moment if self.settings.moments == "keep" or not self.matrix(name, theta) else None
