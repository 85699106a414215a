"""Weight changes of LoRA factors against dense matrices, their gauge, and what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.studies.interplay import measures, nulls, weights
from benchmark.studies.interplay.analysis import CHANGE, FACTORS, analyse
from benchmark.studies.interplay.changes import Change, Product
from benchmark.studies.interplay.trajectories import Trajectory
from benchmark.studies.interplay.weights import weight_moments
from tests.benchmark.studies.interplay.world import dense, factors, moved, write_run

RANK, SCALE = 3, 2.0


@pytest.fixture
def lora(tmp_path):
    """A run of three iterations and its dense weight changes: (6, entries), policy first."""
    rng = np.random.default_rng(0)
    paths = []
    for _ in range(2):
        path = [factors(rng, RANK)]
        for size in (0.1, 0.05, 1e-4):
            path.append(moved(path[-1], rng, size))
        paths.append(path)
    run, store = write_run(tmp_path, *paths, rank=RANK)
    changes = np.concatenate([np.diff([dense(state, SCALE) for state in path], axis=0) for path in paths])
    return run, store, changes, paths


def test_inner_products_are_those_of_the_dense_changes(lora):
    _, store, changes, _ = lora
    found = weight_moments(Trajectory(store.folder), SCALE)
    assert found.error is None
    assert found.gram == pytest.approx(changes @ changes.T, rel=1e-9)
    assert sum(m.gram for m in found.layers.values()) == pytest.approx(found.gram)
    first = weight_moments(Trajectory(store.folder, "1"), SCALE)
    part = changes[:, -20 * 12 :]
    assert first.gram == pytest.approx(part @ part.T, rel=1e-9)


def test_directions_of_a_change_are_those_of_its_singular_values(lora):
    _, store, changes, _ = lora
    found = weight_moments(Trajectory(store.folder), SCALE).spectrum.ratios[0]
    sizes, start = [(20, 12), (26, 12), (20, 12)], 0
    sums, shares = np.zeros(6), np.zeros(6)
    for m, n in sizes:
        for place, change in enumerate(changes[:, start : start + m * n]):
            squares = np.linalg.svd(change.reshape(m, n), compute_uv=False) ** 2
            sums[place] += squares.sum() * measures.participation(squares)
            shares[place] += squares.sum()
        start += m * n
    assert found == pytest.approx(sums / shares, rel=1e-6)


def test_another_gauge_is_the_same_change_but_not_the_same_tensors(lora, tmp_path):
    """B M and M⁻¹ A with another M in every state: every figure of ΔW stays, those of the factors do not."""
    run, store, _, paths = lora
    rng = np.random.default_rng(1)

    def turned(state):
        found = {}
        for name in (n.removesuffix(".lora_A.weight") for n in state if n.endswith("lora_A.weight")):
            gauge = torch.tensor(np.eye(RANK) + 0.3 * rng.standard_normal((RANK, RANK)))
            found[f"{name}.lora_A.weight"] = torch.linalg.solve(gauge, state[f"{name}.lora_A.weight"]).contiguous()
            found[f"{name}.lora_B.weight"] = (state[f"{name}.lora_B.weight"] @ gauge).contiguous()
        return found

    other = write_run(tmp_path / "turned", *[[turned(state) for state in path] for path in paths], rank=RANK)
    before, after = analyse(run, store).rows, analyse(*other).rows
    same = ["cosine", "norm", "participation ratio", "directions", "Procrustes disparity", "distance correlation"]
    keep = (before.weights == CHANGE) & before.measure.isin(same)
    assert keep.sum() > 40
    assert after[keep].value.to_numpy() == pytest.approx(before[keep].value.to_numpy(), rel=2e-4, abs=1e-7)
    tensors = (before.weights == FACTORS) & (before.measure == "cosine")
    assert np.abs(after[tensors].value - before[tensors].value).max() > 0.1


def test_tiny_changes_are_not_lost_to_cancellation():
    rng = np.random.default_rng(2)
    a, b, da, db = (rng.standard_normal(shape) for shape in ((2, 8), (9, 2), (2, 8), (9, 2)))
    change = Change.between(a, b, a + 1e-9 * da, b + 1e-9 * db)
    exact = 1e-9 * (db @ a + b @ da)
    assert Product.of(change, change).value == pytest.approx((exact**2).sum(), rel=1e-5)


def test_projected_pictures_say_how_wrong_they_are(lora, monkeypatch):
    _, store, changes, _ = lora
    monkeypatch.setattr(weights, "EXACT_OPERATIONS", 0)
    monkeypatch.setattr(weights, "SKETCH", 64)
    found = weight_moments(Trajectory(store.folder), SCALE)
    exact, total = changes @ changes.T, sum(m.gram for m in found.layers.values())
    known = np.isfinite(total)
    assert total[known] == pytest.approx(exact[known], rel=1e-9)
    assert known[0, 3] and known[1, 3] and known[0, 1] and known[3, 4] and not known[0, 2] and not known[0, 5]
    lengths = np.sqrt(np.diag(exact))
    errors = np.abs(found.gram - exact) / np.outer(lengths, lengths)
    assert 0 < found.error < 0.4 and errors[known].max() == pytest.approx(found.error)
    assert errors.max() < 0.5
    apart = known & ~np.eye(6, dtype=bool)
    assert found.noise == pytest.approx(np.sqrt((errors[apart] ** 2).mean()))


def test_what_is_projected_is_held_against_what_is_projected(lora, monkeypatch):
    run, store, _, _ = lora
    exact = analyse(run, store).pictures[CHANGE].deviation
    monkeypatch.setattr(weights, "EXACT_OPERATIONS", 0)
    noise = weight_moments(Trajectory(store.folder), SCALE).noise
    assert analyse(run, store).pictures[CHANGE].deviation[0, 3] == pytest.approx(np.hypot(exact[0, 3], noise))


def pair(rng, m=14, n=11, r=2):
    """Two changes with means and sizes of their own."""
    changes = []
    for size_a, size_b in ((0.02, 0.3), (0.1, 0.05)):
        a, b = rng.standard_normal((r, n)), 0.5 * rng.standard_normal((m, r))
        changes.append(Change.between(a, b, a + size_a * rng.standard_normal((r, n)),
                                      b + size_b * rng.standard_normal((m, r))))
    return changes


def redrawn(rng, change):
    """The same means with random updates of the same norms."""
    r, m, n = change.rank, len(change.left), change.right.shape[1]
    db = rng.standard_normal((m, r)) * change.norm_b / np.sqrt(m * r)
    da = rng.standard_normal((r, n)) * change.norm_a / np.sqrt(r * n)
    return Change(np.hstack([db, change.left[:, r:]]), np.vstack([change.right[:r], da]), change.norm_a, change.norm_b)


def test_the_variance_by_chance_is_what_draws_give():
    rng = np.random.default_rng(3)
    one, other = pair(rng)
    draws = np.array([Product.of(redrawn(rng, one), redrawn(rng, other)).value for _ in range(4000)])
    expected = nulls.change_variance(Product.of(one, other), one, other)
    assert draws.var() == pytest.approx(expected, rel=0.12)
    assert abs(draws.mean()) < 5 * np.sqrt(expected / 4000)
    squares = [Product.of(drawn, drawn).value for drawn in (redrawn(rng, one) for _ in range(1000))]
    assert np.mean(squares) == pytest.approx(weights.null_square(Product.of(one, one), one), rel=0.05)


def test_one_more_draw_lies_outside_a_band_in_one_case_of_twenty():
    """By symmetry beyond all of 39 draws in 2 cases of 40; of 8 draws by Student's t: 2.3646 √(9/8) √(8/7)."""
    assert nulls.band_from(np.arange(1.0, 40.0)) == pytest.approx((20, 1, 39))
    assert nulls.band_from(np.arange(1.0, 200.0)) == pytest.approx((100, 5, 195))
    assert nulls.band_from(np.array([1.0, -1.0] * 4)) == pytest.approx((0, -2.6812, 2.6812), abs=1e-3)


@pytest.mark.parametrize("m", [14, 3])  # many rows: Bartlett's decomposition; few: plain draws
def test_random_spectra_are_those_of_random_factors(m):
    rng = np.random.default_rng(4)
    one, _ = pair(rng, m=m)
    product = Product.of(one, one)

    def ratio(found):
        return found.value**2 / found.fourth

    short = [ratio(Product(*nulls.random_change(rng, product, one))) for _ in range(1500)]
    long = [ratio(Product.of(drawn, drawn)) for drawn in (redrawn(rng, one) for _ in range(1500))]
    assert np.mean(short) == pytest.approx(np.mean(long), abs=5 * np.hypot(np.std(short), np.std(long)) / np.sqrt(1500))
    assert np.std(short) == pytest.approx(np.std(long), rel=0.15)


def test_one_gradient_seen_through_two_adapters():
    """Gradient descent on the same G moves B by GAᵀ and A by BᵀG: mean products over draws of G."""
    rng = np.random.default_rng(5)
    m, n, r = 14, 11, 2
    adapters = [(rng.standard_normal((r, n)), 0.5 * rng.standard_normal((m, r))) for _ in range(2)]
    changes = [Change(np.hstack([np.zeros((m, r)), b]), np.vstack([a, np.zeros((r, n))]), 0.0, 0.0)
               for a, b in adapters]
    whole, parts = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(3000):
        g = rng.standard_normal((m, n))
        seen = [(g @ a.T, b.T @ g) for a, b in adapters]
        dense_changes = [(db @ a + b @ da).ravel() for (db, da), (a, b) in zip(seen, adapters, strict=True)]
        flat = [np.concatenate([db.ravel(), da.ravel()]) for db, da in seen]
        whole += np.array(dense_changes) @ np.array(dense_changes).T
        parts += np.array(flat) @ np.array(flat).T
    shared = [[nulls.shared_gradient(Product.of(x, y), x, y) for y in changes] for x in changes]
    for seen, name in ((whole, "weights"), (parts, "factors")):
        told = np.array([[getattr(s, name) for s in line] for line in shared])
        assert measures.cosines(told) == pytest.approx(measures.cosines(seen), abs=0.03)
