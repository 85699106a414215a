"""Measures on numbers whose answers are known by hand or by another formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform

from benchmark.studies.interplay import measures


def gram(points):
    return points @ points.T


def test_cosines_and_degrees_of_known_vectors():
    found = measures.cosines(gram(np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [1.0, 1.0]])))
    assert measures.degrees(found)[0] == pytest.approx([0, 90, 180, 45])
    still = measures.cosines(gram(np.array([[1.0, 0.0], [0.0, 0.0]])))
    assert np.isnan(still[0, 1]) and np.isnan(still[1, 1]) and still[0, 0] == 1


def test_pearson_is_numpys():
    points = np.random.default_rng(0).standard_normal((4, 50)) + 3
    assert measures.pearson(gram(points), points.sum(1), 50) == pytest.approx(np.corrcoef(points))


def test_positions_and_distances_are_those_of_the_points():
    updates = np.random.default_rng(1).standard_normal((5, 9))
    points = np.vstack([np.zeros(9), np.cumsum(updates, axis=0)])
    found = measures.positions(gram(updates))
    assert found == pytest.approx(gram(points))
    assert measures.distances(found) == pytest.approx(squareform(pdist(points)))
    assert gram(measures.coordinates(found)) == pytest.approx(gram(points))
    assert measures.centred(found) == pytest.approx(gram(points - points.mean(0)))


def slow_distance_correlation(x, y):
    """Székely & Rizzo 2013, eq. 2.4 to 2.9, element by element."""
    n, centred = len(x), []
    for d in (x, y):
        u = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    u[i, j] = (d[i, j] - d[i].sum() / (n - 2) - d[:, j].sum() / (n - 2)
                               + d.sum() / ((n - 1) * (n - 2)))
        centred.append(u)
    a, b = centred
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def test_distance_correlation_is_the_published_one():
    rng = np.random.default_rng(2)
    x, y = (squareform(pdist(rng.standard_normal((7, 3)))) for _ in range(2))
    assert measures.distance_correlation(x, y) == pytest.approx(slow_distance_correlation(x, y))
    with pytest.raises(ValueError, match="4 samples or more"):
        measures.distance_correlation(x[:3, :3], y[:3, :3])


def test_distance_correlation_sees_what_pearson_does_not():
    rng = np.random.default_rng(3)
    x, apart = rng.standard_normal(400), rng.standard_normal(400)
    of = measures.absolute_differences
    assert measures.distance_correlation(of(x), of(-2 * x + 1)) == pytest.approx(1)
    assert abs(np.corrcoef(x, x**2)[0, 1]) < 0.15 and measures.distance_correlation(of(x), of(x**2)) > 0.15
    assert abs(measures.distance_correlation(of(x), of(apart))) < 0.02
    assert np.isnan(measures.distance_correlation(of(np.ones(9)), of(x[:9])))


def test_procrustes_forgives_place_scale_and_rotation_only():
    rng = np.random.default_rng(4)
    points, other = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert measures.procrustes(gram(points), gram(3 * points @ turn + 2)) == pytest.approx(0, abs=1e-9)
    assert measures.procrustes(gram(points), gram(other)) == pytest.approx(procrustes(points, other)[2])
    assert np.isnan(measures.procrustes(gram(points), np.zeros((6, 6))))


def test_participation_counts_equal_shares():
    assert measures.participation(np.array([2.0, 2, 2, 0])) == pytest.approx(3)
    assert measures.participation(np.array([5.0, 0])) == 1
    assert np.isnan(measures.participation(np.zeros(3)))


def test_directions_of_straight_and_orthogonal_paths():
    assert measures.directions(gram(np.array([[1.0, 0], [5, 0], [-2, 0]]))) == pytest.approx(1)
    assert measures.directions(gram(np.diag([1.0, 7, 0.1]))) == pytest.approx(3)
    assert measures.directions(gram(np.diag([1.0, 0, 0]))) == pytest.approx(1)  # what did not move is left out
    assert np.isnan(measures.directions(np.zeros((2, 2))))
