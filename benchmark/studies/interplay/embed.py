"""Trajectories in two and three dimensions.

All embeddings are computed from the Gram matrix of the displacements from each model's own start, in units of each
model's own largest one: both begin at the origin and are as large, and the angles between them are what they were. PCA
shows lengths and angles as far as its axes explain them; t-SNE and UMAP keep neighbours together and nothing else: in
them neither lengths nor angles mean anything.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass

import numpy as np

from benchmark.core.seeding import derive_seed
from benchmark.studies.interplay import measures, nulls
from benchmark.studies.interplay.analysis import Picture

EXTRA = {"sklearn": ("scikit-learn", "t-SNE"), "umap": ("umap-learn", "UMAP")}  # module → package, what needs it
SEED = 0  # of the embeddings


@dataclass(frozen=True)
class Embedding:
    """Points of both trajectories.

    Attributes:
        method: PCA, t-SNE or UMAP.
        policy: (p + 1, dims). reward: (r + 1, dims). The first row is the start.
        explained: share of the variance along each axis, for PCA.
    """

    method: str
    policy: np.ndarray
    reward: np.ndarray
    explained: tuple[float, ...] | None = None


def missing() -> list[str]:
    """Modules of the extra ``visualise`` that are not installed."""
    return [module for module in EXTRA if importlib.util.find_spec(module) is None]


def displacements(picture: Picture) -> np.ndarray:
    """Gram matrix of all displacements from the start, p + 1 policy states, then r + 1 reward-model states, each in
    units of the largest of its model."""
    p, n = picture.policy, len(picture.gram)
    steps = np.zeros((n + 2, n))
    steps[: p + 1, :p] = np.tril(np.ones((p + 1, p)), -1)
    steps[p + 1 :, p:] = np.tril(np.ones((n - p + 1, n - p)), -1)
    gram = steps @ picture.gram @ steps.T
    lengths = np.sqrt(np.maximum(np.diag(gram), 0.0))
    units = np.repeat([lengths[: p + 1].max() or 1.0, lengths[p + 1 :].max() or 1.0], [p + 1, n - p + 1])
    return gram / np.outer(units, units)


def chance(picture: Picture, name: str) -> Picture:
    """Random walks of policy and reward model with the same shapes and norms, in place of ``picture``."""
    rng = np.random.default_rng(derive_seed("interplay twin", name))
    norms = np.sqrt(np.maximum(np.diag(picture.gram), 0.0))
    return Picture(nulls.random_walk(rng, norms, picture.deviation), picture.deviation, picture.policy, picture.marks)


def embed(picture: Picture, method: str, dims: int) -> Embedding:
    """Embed both trajectories together.

    Args:
        method: ``PCA``, ``t-SNE`` or ``UMAP``; the latter two need the extra ``visualise``.
        dims: 2 or 3.
    """
    gram = displacements(picture)
    points = measures.coordinates(measures.centred(gram))
    variances = (points**2).sum(axis=0)
    explained, total = None, variances.sum()
    if method == "PCA" or total == 0:
        found = points[:, :dims]
        found = found - found[0]  # the start in the origin
        explained = tuple(float(v) for v in variances[:dims] / (total or 1.0))
    else:
        scaled = points / np.sqrt(total / len(points))
        found = {"t-SNE": _tsne, "UMAP": _umap}[method](scaled, dims)
    p = picture.policy + 1
    return Embedding(method, found[:p], found[p:], explained)


def _tsne(points: np.ndarray, dims: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    start = points[:, :dims] / max(points[:, 0].std(), 1e-12) * 1e-4
    return TSNE(dims, perplexity=perplexity, init=start, method="exact", random_state=SEED).fit_transform(points)


def _umap(points: np.ndarray, dims: int) -> np.ndarray:
    import umap

    start = 10 * points[:, :dims] / max(np.abs(points[:, :dims]).max(), 1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a seed makes it run on one thread
        return umap.UMAP(n_components=dims, n_neighbors=min(15, len(points) - 1), init=start, random_state=SEED,
                         n_jobs=1).fit_transform(points)
