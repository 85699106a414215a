"""What chance gives: independent random updates of the same shapes and norms.

Two of them are never exactly orthogonal, but in many dimensions nearly so: the cosine of two random directions in d
dimensions has mean 0 and standard deviation 1/√d. Here every tensor keeps its shape and the norm of its update, and
only its direction is random. The standard deviations of cosines follow in closed form; the nulls of everything else
are drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from benchmark.studies.interplay import measures
from benchmark.studies.interplay.changes import Change, Product

COVERED = 1.959964  # standard deviations that hold 95 % of a normal distribution


class Band(NamedTuple):
    """Mean of a null distribution and the ends of its central 95 %."""

    mean: float
    low: float
    high: float


def band_of(deviation: float) -> Band:
    """Of a cosine or correlation with mean 0; normal, since it sums many independent terms."""
    return Band(0.0, -COVERED * deviation, COVERED * deviation)


def band_from(draws: np.ndarray) -> Band:
    """From n draws, so that one more lies outside in 1 case of 20: quantiles at (n + 1)p if there are enough of them,
    else Student's prediction interval."""
    draws = draws[np.isfinite(draws)]
    n = len(draws)
    if n < 2:
        return Band(*[float("nan")] * 3)
    mean = float(draws.mean())
    if n >= 39:
        return Band(mean, *(float(q) for q in np.quantile(draws, [0.025, 0.975], method="weibull")))
    reach = float(student.ppf(0.975, n - 1) * np.sqrt(1 + 1 / n) * draws.std(ddof=1))
    return Band(mean, mean - reach, mean + reach)


def change_variance(product: Product, one: Change, other: Change) -> float:
    """Variance of ⟨ΔW, ΔW'⟩ if the factors' updates had random directions.

    With ΔW = δB Ā + B̄ δA, δA and δB of independent entries with the norms a and b that were measured, and Ā, B̄ as they
    were, the four terms of the inner product are uncorrelated, and for X, Y fixed and Z random E‖XZY‖² = σ²‖X‖²‖Y‖²:

        ( b²b'²‖ĀĀ'ᵀ‖²/m + a²a'²‖B̄ᵀB̄'‖²/n + b²a'²‖Ā‖²‖B̄'‖²/(mn) + a²b'²‖B̄‖²‖Ā'‖²/(mn) ) / r²
    """
    r, m, n = one.rank, len(one.left), one.right.shape[1]
    squares = [(float((c.right[:r] ** 2).sum()), float((c.left[:, r:] ** 2).sum())) for c in (one, other)]
    (a_one, b_one), (a_other, b_other) = squares
    return ((one.norm_b * other.norm_b) ** 2 * float((product.means_a**2).sum()) / m
            + (one.norm_a * other.norm_a) ** 2 * float((product.means_b**2).sum()) / n
            + (one.norm_b * other.norm_a) ** 2 * a_one * b_other / (m * n)
            + (one.norm_a * other.norm_b) ** 2 * b_one * a_other / (m * n)) / r**2


class Shared(NamedTuple):
    """Inner products to expect of two updates along one gradient, up to a common factor."""

    factors: float
    weights: float


def shared_gradient(product: Product, one: Change, other: Change) -> Shared:
    """What two adapters would do with one and the same gradient G of the weight, its entries independent.

    Gradient descent moves B by −GĀᵀ and A by −B̄ᵀG, so ΔW by −(GĀᵀĀ + B̄B̄ᵀG). In expectation over G the factors' updates
    have the inner product m⟨Ā, Ā'⟩ + n⟨B̄, B̄'⟩ and the weight changes
    m‖ĀĀ'ᵀ‖² + n‖B̄ᵀB̄'‖² + ‖Ā‖²‖B̄'‖² + ‖B̄‖²‖Ā'‖²:
    adapters with unrelated A hide from each other what they have in common.
    """
    r, m, n = one.rank, len(one.left), one.right.shape[1]
    a_one, a_other, b_one, b_other = one.right[:r], other.right[:r], one.left[:, r:], other.left[:, r:]
    factors = m * float((a_one * a_other).sum()) + n * float((b_one * b_other).sum())
    weights = (m * float((product.means_a**2).sum()) + n * float((product.means_b**2).sum())
               + float((a_one**2).sum() * (b_other**2).sum() + (b_one**2).sum() * (a_other**2).sum()))
    return Shared(factors, weights)


def random_change(rng: np.random.Generator, product: Product, change: Change) -> tuple[np.ndarray, np.ndarray]:
    """UᵀU and VVᵀ, 2r × 2r each, of a random change about the same mean factors with the same norms.

    Args:
        product: of ``change`` with itself.
    """
    r, m, n = change.rank, len(change.left), change.right.shape[1]
    left = _random_gram(rng, product.means_b, m, change.norm_b)
    right = _random_gram(rng, product.means_a, n, change.norm_a)
    return left, np.roll(right, r, axis=(0, 1))


def _random_gram(rng: np.random.Generator, mean: np.ndarray, size: int, norm: float) -> np.ndarray:
    """Gram matrix of [Z, F] for Z (size, r) of independent N(0, norm²/(size·r)) and a fixed F with FᵀF = ``mean``.

    Only r rows of F are not zero in a suitable basis; of the rows of Z beyond them only the Gram matrix matters, which
    is Wishart (drawn by Bartlett's decomposition where there are at least r such rows).
    """
    r = len(mean)
    values, vectors = np.linalg.eigh((mean + mean.T) / 2)
    fixed = (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)[-min(r, size):]
    rest = size - len(fixed)
    if rest >= r:
        lower = np.tril(rng.standard_normal((r, r)), -1)
        np.fill_diagonal(lower, np.sqrt(rng.chisquare(rest - np.arange(r))))
        below = lower.T
    else:
        below = rng.standard_normal((rest, r))
    z = np.vstack([rng.standard_normal((len(fixed), r)), below]) * norm / np.sqrt(size * r)
    stacked = np.hstack([z, np.vstack([fixed, np.zeros((len(below), r))])])
    return stacked.T @ stacked


def random_walk(rng: np.random.Generator, norms: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Gram matrix (n, n) of n independent random updates.

    Args:
        norms: (n,) of the updates. deviation: (n, n) standard deviation of the cosine of two of them.
    """
    n = len(norms)
    noise = np.triu(rng.standard_normal((n, n)) * np.nan_to_num(deviation), 1)
    values, vectors = np.linalg.eigh(np.eye(n) + noise + noise.T)
    cosine = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return cosine * np.outer(norms, norms)


def distance_correlation_band(rng: np.random.Generator, one: np.ndarray, other: np.ndarray, draws: int = 39) -> Band:
    """Null of the distance correlation of two updates over sampled coordinates.

    Args:
        one, other: (s,) root mean square of the tensor that each coordinate comes from: coordinates of tensors that
            move much in both are large in both, which alone makes a distance correlation above 0.
    """
    found = [measures.distance_correlation(
        measures.absolute_differences(rng.standard_normal(len(one)) * one),
        measures.absolute_differences(rng.standard_normal(len(other)) * other)) for _ in range(draws)]
    return band_from(np.array(found))
