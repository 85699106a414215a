"""Inner products between the weight changes of two models, layer by layer, and what follows from them.

The changes themselves are in :mod:`benchmark.studies.interplay.changes`; no m × n matrix is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.seeding import derive_seed
from benchmark.studies.interplay.changes import Change, Product
from benchmark.studies.interplay.nulls import change_variance, random_change, shared_gradient
from benchmark.studies.interplay.products import Moments
from benchmark.studies.interplay.trajectories import Module, Trajectory

EXACT_OPERATIONS = 2e11  # multiplications up to which the inner products of all pairs of changes are taken
SKETCH = 128  # rows and columns of the random projection of a change beyond that
DRAWS = 8  # random changes that the null of a participation ratio is taken from


@dataclass
class Spectrum:
    """Participation ratios (Σσ²)²/Σσ⁴ of the singular values of ΔW, averaged over modules with ‖ΔW‖² as weight.

    Attributes:
        sums, weights: (1 + draws, n); row 0 is what was measured, the others are random changes.
    """

    sums: np.ndarray
    weights: np.ndarray

    def note(self, row: int, place: int, product: Product) -> None:
        square = product.value
        if square > 0:
            self.sums[row, place] += square * (square**2 / product.fourth)
            self.weights[row, place] += square

    @property
    def ratios(self) -> np.ndarray:
        """(1 + draws, n), NaN where nothing moved."""
        return self.sums / np.where(self.weights > 0, self.weights, np.nan)


@dataclass
class WeightMoments:
    """What :func:`weight_moments` finds, for n = 2 × iterations changes: policy first, then reward model.

    Attributes:
        layers: moments of ΔW by layer.
        factors: those of the factors, of which only ``common`` is filled.
        spectrum: participation ratios over all layers.
        gram: (n, n) for the pictures, over all layers.
        error: None where ``gram`` is exact, else the largest error of its cosines where the exact ones are known.
        noise: root mean square of these errors between different changes, which the null of a measure on ``gram`` must
            have too; 0 where it is exact.
    """

    layers: dict[str, Moments]
    factors: dict[str, Moments]
    spectrum: Spectrum
    gram: np.ndarray
    error: float | None = None
    noise: float = 0.0


def weight_moments(trajectory: Trajectory, scale: float) -> WeightMoments:
    """Moments of the weight changes ΔW of all LoRA modules over whole iterations.

    The cosines that are measured (policy and reward model in one iteration and in the next, and each with its
    successor) are exact. All others are exact up to ``EXACT_OPERATIONS``; beyond that they are NaN, and the Gram matrix
    for the pictures is that of random projections P ΔW Q, P and Q Gaussian (Johnson & Lindenstrauss 1984).

    Args:
        scale: s = alpha / rank.
    """
    n = 2 * trajectory.iterations
    modules = [module for module in trajectory.modules if module.lora]
    exact = operations(modules, n) <= EXACT_OPERATIONS
    found = WeightMoments({layer: Moments.empty(n) for layer in trajectory.layers},
                          {layer: Moments.empty(n) for layer in trajectory.layers},
                          Spectrum(np.zeros((1 + DRAWS, n)), np.zeros((1 + DRAWS, n))), np.zeros((n, n)))
    sketched = np.zeros((n, n))
    for module in modules:
        sketches = _note_module(found, trajectory, module, exact)
        sketched += sketches @ sketches.T
    for moments in found.layers.values():
        moments.gram, moments.square, moments.variance = (
            scale**2 * moments.gram, scale**2 * moments.square, scale**4 * moments.variance)
        found.gram += moments.gram
    if not exact:
        known, found.gram = found.gram, scale**2 * sketched
        lengths = np.sqrt(np.where(np.diag(known) > 0, np.diag(known), np.nan))
        errors = np.abs(found.gram - known) / np.outer(lengths, lengths)
        found.error = float(np.nanmax(errors)) if np.isfinite(errors).any() else 0.0
        apart = errors[np.isfinite(errors) & ~np.eye(n, dtype=bool)]
        found.noise = float(np.sqrt((apart**2).mean())) if len(apart) else 0.0
    return found


def operations(modules: list[Module], n: int) -> float:
    """Multiplications for the inner products of all pairs of n changes."""
    return sum((n * 2 * a[0]) ** 2 / 2 * (a[1] + b[0]) for a, b in (m.tensors.values() for m in modules))


def _note_module(found: WeightMoments, trajectory: Trajectory, module: Module, exact: bool) -> np.ndarray:
    """Add one module to ``found``; return the projections (n, ·) of its changes, empty if all pairs are exact."""
    iterations = trajectory.iterations
    moments, factors = found.layers[module.layer], found.factors[module.layer]
    (_, inputs), (outputs, _) = module.tensors.values()
    moments.entries += inputs * outputs
    gram = np.full_like(moments.gram, np.nan)
    sketches = np.zeros((2 * iterations, 0 if exact else SKETCH**2))
    earlier: dict[int, Change] = {}
    for iteration in range(iterations):
        for place in (iteration, iterations + iteration):
            change = earlier[place] = read_change(trajectory, module, place)
            for other, before in earlier.items():
                product = Product.of(before, change)
                gram[other, place] = gram[place, other] = product.value
                shared = shared_gradient(product, before, change)
                for target, number in ((moments.variance, change_variance(product, before, change)),
                                       (moments.common, shared.weights), (factors.common, shared.factors)):
                    target[other, place] += number
                    target[place, other] = target[other, place]
            moments.square[place] += null_square(product, change)  # the last product is the change's with itself
            _note_spectrum(found.spectrum, place, product, change, module.name)
            if not exact:
                sketches[place] = _sketch(change, module.name)
        if not exact:  # what only later iterations could ask for is dropped
            earlier = {place: change for place, change in earlier.items() if place % iterations == iteration}
    moments.gram += gram
    return sketches


def read_change(trajectory: Trajectory, module: Module, place: int) -> Change:
    """ΔW/s of ``module``: of the policy for place < iterations, else of the reward model."""
    reward, iteration = divmod(place, trajectory.iterations)
    states = trajectory.reward if reward else [trajectory.policy[end] for end in trajectory.ends]
    (a0, b0), (a1, b1) = ([trajectory.tensor(path, name) for name in module.tensors]
                          for path in states[iteration : iteration + 2])
    return Change.between(a0, b0, a1, b1)


def null_square(product: Product, change: Change) -> float:
    """Expected ‖ΔW/s‖² of factor updates in random directions, with the norms of ``change`` and about its means.

    Args:
        product: of ``change`` with itself.
    """
    return float(change.norm_b**2 * np.trace(product.means_a)
                 + change.norm_a**2 * np.trace(product.means_b)) / change.rank


def _note_spectrum(spectrum: Spectrum, place: int, product: Product, change: Change, name: str) -> None:
    spectrum.note(0, place, product)
    rng = np.random.default_rng(derive_seed("interplay spectrum", name, place))
    for draw in range(1, 1 + DRAWS):
        spectrum.note(draw, place, Product(*random_change(rng, product, change)))


def _sketch(change: Change, name: str) -> np.ndarray:
    """P ΔW Q / s, flat, with the same P and Q for all changes of one module."""
    rng = np.random.default_rng(derive_seed("interplay sketch", name))
    p = rng.standard_normal((SKETCH, len(change.left))) / np.sqrt(SKETCH)
    q = rng.standard_normal((change.right.shape[1], SKETCH)) / np.sqrt(SKETCH)
    return ((p @ change.left) @ (change.right @ q)).ravel()
