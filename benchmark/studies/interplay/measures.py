"""Measures of updates and trajectories, on Gram matrices and plain arrays.

Every measure between two updates needs their inner product and lengths only, and every measure of a whole trajectory
the Gram matrix of its updates: exact whatever the number of weights, and small.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import procrustes as scipy_procrustes


def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines (n, n) between n updates from their Gram matrix; NaN where one of the two did not move."""
    return np.clip(cosine_scale(gram, np.diag(gram)), -1.0, 1.0)


def cosine_scale(products: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """``products`` (n, n) over the lengths of the two, from their squares (n,); NaN where one of the two is 0."""
    lengths = np.sqrt(np.where(squares > 0, squares, np.nan))
    return products / np.outer(lengths, lengths)


def degrees(cosine: np.ndarray | float) -> np.ndarray | float:
    """Angle in degrees, 0 to 180."""
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def pearson(gram: np.ndarray, totals: np.ndarray, entries: int) -> np.ndarray:
    """Pearson correlations (n, n) of n updates over their coordinates.

    Args:
        gram: (n, n) inner products. totals: (n,) sums of the coordinates. entries: number of coordinates.
    """
    return cosines(gram - np.outer(totals, totals) / entries)


def positions(gram: np.ndarray) -> np.ndarray:
    """Gram matrix (n + 1, n + 1) of the displacements from the start, from that of n consecutive updates."""
    steps = np.tril(np.ones((len(gram) + 1, len(gram))), -1)
    return steps @ gram @ steps.T


def distances(gram: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, n) between n points, from their Gram matrix."""
    squares = np.diag(gram)
    return np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0))


def coordinates(gram: np.ndarray) -> np.ndarray:
    """Points (n, n) with the inner products ``gram``, columns by falling variance; each column's sign is fixed."""
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    points = vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0.0))
    largest = points[np.abs(points).argmax(axis=0), np.arange(len(points))]
    return points * np.where(largest < 0, -1.0, 1.0)


def centred(gram: np.ndarray) -> np.ndarray:
    """Gram matrix of the same points about their mean."""
    return gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()


def absolute_differences(values: np.ndarray) -> np.ndarray:
    """Distance matrix (n, n) of n numbers."""
    return np.abs(values[:, None] - values[None, :])


def distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Squared distance correlation, bias-corrected: 0 in the mean for independent samples, 1 for equal shapes.

    Székely & Rizzo 2013, "The distance correlation t-test of independence in high dimension", eq. 2.4 to 2.9.

    Args:
        x, y: distance matrices (n, n) of the same n samples, n ≥ 4.

    Returns:
        May be a little below 0; NaN where one of the two does not vary.
    """
    a, b = _u_centred(x), _u_centred(y)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def _u_centred(matrix: np.ndarray) -> np.ndarray:
    n = len(matrix)
    if n < 4:
        raise ValueError(f"distance correlation needs 4 samples or more, not {n}")
    rows = matrix.sum(axis=0) / (n - 2)
    found = matrix - rows - rows[:, None] + matrix.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    return found


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Procrustes disparity of two trajectories of n points: squared distance after the best translation, scale,
    rotation and reflection; 0 = the same shape, at most 1.

    Args:
        x, y: Gram matrices (n, n) of their points.

    Returns:
        NaN where one of the two does not move.
    """
    points = [coordinates(centred(gram)) for gram in (x, y)]
    if any(np.abs(p).max() == 0 for p in points):
        return float("nan")
    return float(scipy_procrustes(*points)[2])


def participation(squares: np.ndarray) -> float:
    """Participation ratio (Σλ)²/Σλ² of the non-negative λ: n for n equal ones, 1 where a single one is not 0."""
    squares = np.maximum(squares, 0.0)
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else float("nan")


def directions(gram: np.ndarray) -> float:
    """In how many directions n updates go: the participation ratio of their covariance, each taken at unit length.
    1 for a straight line, n if all are orthogonal."""
    moved = np.diag(gram) > 0
    if not moved.any():
        return float("nan")
    return participation(np.linalg.eigvalsh(cosines(gram[np.ix_(moved, moved)])))
