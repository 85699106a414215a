"""One run's measures: every one with what independent random updates of the same shapes and norms would give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.seeding import derive_seed
from benchmark.plan.run import Run
from benchmark.run.store import RunStore
from benchmark.studies.interplay import measures, nulls
from benchmark.studies.interplay.nulls import Band, band_from, band_of
from benchmark.studies.interplay.products import Moments, Samples, tensor_moments
from benchmark.studies.interplay.trajectories import Trajectory
from benchmark.studies.interplay.weights import Spectrum, weight_moments

FACTORS, CHANGE = "tensors", "weight change"  # what a row was measured on
ALL = "all"  # the layer that stands for all layers
RELATIONS = {  # name → words
    "same": "policy and reward model, same iteration",
    "next": "reward model and the policy's next iteration",
    "policy": "policy, consecutive iterations",
    "reward": "reward model, consecutive iterations",
}
WALKS = 199  # random walks that the null of a trajectory's measure is taken from
COLUMNS = ("task", "method", "seed", "run", "weights", "layer", "measure", "relation", "iteration", "update", "value",
           "null_mean", "null_low", "null_high", "degrees", "degrees_low", "degrees_high", "shared_gradient")


@dataclass(frozen=True)
class Picture:
    """What the trajectories of one run are drawn from.

    Attributes:
        gram: (p + r, p + r) inner products of the p policy updates and the r reward-model updates.
        deviation: (p + r, p + r) of the cosine of two such updates by chance.
        policy: p. marks: places of the iterations' ends among the p + 1 policy states.
    """

    gram: np.ndarray
    deviation: np.ndarray
    policy: int
    marks: tuple[int, ...]


@dataclass
class Analysis:
    """The measures of one run.

    Attributes:
        rows: one line a measure, columns as in ``COLUMNS``.
        pictures: by what they were measured on.
        parameters: numbers that are compared. layers: names in order.
        error: largest error of a projected cosine in the picture of the weight change; None where all are exact.
    """

    run: Run
    iterations: int
    parameters: int
    layers: list[str]
    rows: pd.DataFrame
    pictures: dict[str, Picture]
    error: float | None = None

    @property
    def name(self) -> str:
        """Names the run's files."""
        return f"{self.run.task}_{self.run.method}_s{self.run.seed}"


def analyse(run: Run, store: RunStore, layer: str | None = None) -> Analysis:
    """Measure one run.

    Args:
        layer: look at this transformer layer only.

    Raises:
        ConfigError, DataError: its adapters cannot be used (see :class:`Trajectory`).
    """
    trajectory = Trajectory(store.folder, layer)
    steps, count = _steps(trajectory), trajectory.iterations
    layers, kept, variance, samples = tensor_moments(trajectory, steps)
    found: list[dict[str, Any]] = []
    pictures, error = {}, None
    if trajectory.lora:
        adapter = run.config.adapter
        if adapter.kind != "lora":
            raise DataError(f"{store.folder.name}: holds LoRA factors, and its config.json says adapter.kind = "
                            f"{adapter.kind}. Run it again.")
        changes = weight_moments(trajectory, adapter.alpha / adapter.rank)
        for name, moments in layers.items():
            moments.common = changes.factors[name].common
        error = changes.error
        found += _rows(CHANGE, changes.layers, count, pearson=False, alike=measures.cosines(changes.gram))
        found += _spectrum_rows(changes.spectrum, count)
        whole = sum(changes.layers.values(), Moments.empty(2 * count))
        # What is projected has the projection's error as well, and so must what it is held against.
        deviation = np.hypot(whole.deviation(), changes.noise)
        found += _trajectory_rows(CHANGE, changes.gram, deviation, count, run)
        pictures[CHANGE] = Picture(changes.gram, deviation, count, tuple(range(count + 1)))
    found += _rows(FACTORS, layers, count, pearson=True)
    found += _sample_rows(samples, count, run)
    whole = sum(layers.values(), Moments.empty(2 * count))
    found += _trajectory_rows(FACTORS, whole.gram, whole.deviation(), count, run)
    deviation = measures.cosine_scale(np.sqrt(variance), np.diag(kept))
    found += _update_rows(trajectory, kept, deviation)
    pictures[FACTORS] = Picture(kept, deviation, len(trajectory.policy) - 1, tuple(trajectory.ends))
    place = {"task": run.task, "method": run.method, "seed": run.seed, "run": run.hash}
    rows = pd.DataFrame([{**place, **row} for row in found], columns=list(COLUMNS))
    rows = rows.astype({"iteration": "Int64", "update": "Int64"})
    return Analysis(run, count, trajectory.parameters, trajectory.layers, rows, pictures, error)


def _steps(trajectory: Trajectory) -> np.ndarray:
    """(2T, f): which updates between kept states make up each iteration's update."""
    count, fine = trajectory.iterations, len(trajectory.policy) - 1
    steps = np.zeros((2 * count, fine + count))
    for iteration, (start, end) in enumerate(zip(trajectory.ends, trajectory.ends[1:], strict=False)):
        steps[iteration, start:end] = 1
        steps[count + iteration, fine + iteration] = 1
    return steps


def pairs(relation: str, count: int) -> Iterator[tuple[int, int, int]]:
    """Iteration, and the places of the two updates, of every pair that ``relation`` compares; policy updates have the
    places 0 to count − 1, the reward model's follow."""
    for k in range(count if relation == "same" else count - 1):
        yield k, *{"same": (k, count + k), "next": (k + 1, count + k), "policy": (k, k + 1),
                   "reward": (count + k, count + k + 1)}[relation]


def _row(weights: str, layer: str, measure: str, relation: str, iteration: int | None, value: float,
         band: Band | None = None, shared: float | None = None, update: int | None = None) -> dict[str, Any]:
    """One line; iterations count from 1."""
    row = {"weights": weights, "layer": layer, "measure": measure, "relation": relation,
           "iteration": None if iteration is None else iteration + 1, "update": update, "value": value}
    if band is not None:
        row |= {"null_mean": band.mean, "null_low": band.low, "null_high": band.high}
    if measure == "cosine":
        row["degrees"] = float(measures.degrees(value))
        if band is not None:
            row |= {"degrees_low": float(measures.degrees(band.high)),
                    "degrees_high": float(measures.degrees(band.low))}
    if shared is not None and math.isfinite(shared):
        row["shared_gradient"] = shared
    return row


def _rows(weights: str, layers: dict[str, Moments], count: int, *, pearson: bool, alike: np.ndarray | None = None
          ) -> Iterator[dict[str, Any]]:
    """Cosines, norms and (over all layers) Pearson correlations.

    Args:
        alike: (2·count, 2·count) cosines over all layers of all pairs, where not all of those in ``layers`` are known.
    """
    whole = sum(layers.values(), Moments.empty(2 * count))
    for layer, moments in {ALL: whole, **layers}.items():
        if layer == ALL or len(layers) > 1:
            yield from _cosine_rows(weights, layer, moments, count, alike)
    if pearson:
        correlations, deviation = measures.pearson(whole.gram, whole.totals, whole.entries), whole.deviation()
        for relation in RELATIONS:
            for k, i, j in pairs(relation, count):
                yield _row(weights, ALL, "pearson", relation, k, correlations[i, j], band_of(deviation[i, j]))


def _cosine_rows(weights: str, layer: str, moments: Moments, count: int, alike: np.ndarray | None
                 ) -> Iterator[dict[str, Any]]:
    cosines, deviation, shared = measures.cosines(moments.gram), moments.deviation(), moments.shared()
    for place, square in enumerate(np.diag(moments.gram)):
        yield _row(weights, layer, "norm", "policy" if place < count else "reward", place % count,
                   math.sqrt(max(square, 0.0)))
    for relation in RELATIONS:
        for k, i, j in pairs(relation, count):
            told = shared[i, j] if relation in ("same", "next") else None
            yield _row(weights, layer, "cosine", relation, k, cosines[i, j], band_of(deviation[i, j]), told)
    if layer == ALL and (found := _unpaired(cosines, deviation, count, cosines if alike is None else alike)):
        yield _row(weights, layer, "cosine", "unpaired", None, found[0], band_of(found[1]))


def _unpaired(cosines: np.ndarray, deviation: np.ndarray, count: int, alike: np.ndarray) -> tuple[float, float] | None:
    """Mean cosine of policy and reward model in iterations that have nothing to do with each other, and its standard
    deviation by chance; None without such a pair.

    Successive updates of one model are alike, so these cosines rise and fall together: the deviation is that of a
    policy and a reward model whose updates keep the angles among themselves, independent of each other.

    Args:
        alike: cosines of all pairs, from which these angles are taken.
    """
    policy, reward = slice(None, count), slice(count, None)
    across, spread = cosines[policy, reward], deviation[policy, reward]
    i, j = np.indices(across.shape)
    weights = ((j != i) & (j != i - 1) & np.isfinite(across)).astype(float)
    if not weights.any():
        return None
    weights /= weights.sum()
    one, other = (np.nan_to_num(alike[part, part]) for part in (policy, reward))
    share = max(float((weights * (one @ weights @ other)).sum()), 0.0)
    known = weights > 0
    return float((weights[known] * across[known]).sum()), float(np.sqrt(share * (spread[known] ** 2).mean()))


def _spectrum_rows(spectrum: Spectrum, count: int) -> Iterator[dict[str, Any]]:
    for place, ratios in enumerate(spectrum.ratios.T):
        yield _row(CHANGE, ALL, "participation ratio", "policy" if place < count else "reward", place % count,
                   ratios[0], band_from(ratios[1:]))


def _sample_rows(samples: Samples, count: int, run: Run) -> Iterator[dict[str, Any]]:
    """Distance correlations over sampled coordinates, policy against reward model."""
    rng = np.random.default_rng(derive_seed("interplay coordinates", run.hash))
    for relation in ("same", "next"):
        for k, i, j in pairs(relation, count):
            value = measures.distance_correlation(*(measures.absolute_differences(samples.values[p]) for p in (i, j)))
            band = nulls.distance_correlation_band(rng, samples.scale[i], samples.scale[j])
            yield _row(FACTORS, ALL, "distance correlation", relation, k, value, band)


def _trajectory_rows(weights: str, gram: np.ndarray, deviation: np.ndarray, count: int, run: Run
                     ) -> Iterator[dict[str, Any]]:
    """Measures of the two whole trajectories, held against pairs of random walks with the same steps."""
    rng = np.random.default_rng(derive_seed("interplay walks", run.hash, weights))
    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    walks = [nulls.random_walk(rng, norms, deviation) for _ in range(WALKS)]
    for (measure, relation), value in shape_measures(gram, count).items():
        band = band_from(np.array([shape_measures(walk, count)[measure, relation] for walk in walks]))
        yield _row(weights, ALL, measure, relation, None, value, band)


def shape_measures(gram: np.ndarray, count: int) -> dict[tuple[str, str], float]:
    """(measure, relation) → value, of two trajectories with the Gram matrix ``gram`` (2·count, 2·count) of their
    updates."""
    policy, reward = gram[:count, :count], gram[count:, count:]
    places = [measures.positions(part) for part in (policy, reward)]
    found = {("directions", "policy"): measures.directions(policy),
             ("directions", "reward"): measures.directions(reward)}
    if count >= 2:  # any two lines have the same shape
        found["Procrustes disparity", "trajectories"] = measures.procrustes(*places)
    if count >= 3:
        found["distance correlation", "trajectories"] = measures.distance_correlation(
            *(measures.distances(place) for place in places))
    return found


def _update_rows(trajectory: Trajectory, gram: np.ndarray, deviation: np.ndarray) -> Iterator[dict[str, Any]]:
    """Cosines of consecutive policy updates between states kept within iterations (execution.keep_every)."""
    if len(trajectory.policy) == len(trajectory.ends):
        return
    cosines, iteration = measures.cosines(gram), -1
    for place in range(len(trajectory.policy) - 2):
        iteration += place in trajectory.ends
        yield _row(FACTORS, ALL, "cosine", "policy updates", iteration, cosines[place, place + 1],
                   band_of(deviation[place, place + 1]), update=trajectory.updates[place + 1])
