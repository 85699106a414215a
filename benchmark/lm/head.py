"""A reward model of which only the head is trained: a linear head on features that never change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from benchmark.core.errors import RunError
from benchmark.core.sections import RewardTraining
from benchmark.lm.reward import RewardModel
from benchmark.lm.training import Pair, Scored

ITERATIONS = 500  # of the optimiser, at most; it stops by itself long before


def fit_head(model: RewardModel, pairs: Sequence[Pair], scored: Sequence[Scored], settings: RewardTraining) -> float:
    """Fit the head on the last token's last hidden state, read once for every row.

    Minimised by L-BFGS, in float64, over features of unit variance: the mean Bradley–Terry loss of the pairs, plus
    ``score_weight`` times the mean squared error of the scores, plus ``ridge`` / 2 times ‖w‖².

    Args:
        pairs: preferred first. scored: may be empty.

    Returns:
        The loss without the ridge.

    Raises:
        RunError: a feature is not finite.
    """
    features = model.features([(prompt, text) for prompt, *both in pairs for text in both]
                              + [(prompt, text) for prompt, text, _ in scored])
    if not np.isfinite(features).all():
        raise RunError("diverged: a hidden state of the reward model is not finite. Check the model's dtype.")
    scale = features.std(0)
    scale[scale == 0] = 1.0
    features /= scale
    differences, rows = features[0 : 2 * len(pairs) : 2] - features[1 : 2 * len(pairs) : 2], features[2 * len(pairs):]
    marks = np.array([score for *_, score in scored])
    weight = settings.score_weight if len(marks) else 0.0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = differences @ w
        value, gradient = np.logaddexp(0, -margins).mean(), -(expit(-margins) @ differences) / len(differences)
        if weight:
            errors = rows @ w - marks
            value += weight * (errors**2).mean()
            gradient += weight * 2 * (errors @ rows) / len(rows)
        return value, gradient

    def penalised(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss(w)
        return value + settings.ridge / 2 * (w @ w), gradient + settings.ridge * w

    found = minimize(penalised, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B",
                     options={"maxiter": ITERATIONS}).x
    with torch.no_grad():
        head = model.plain.score.weight
        head.copy_(torch.from_numpy(found / scale).view_as(head))
    return float(loss(found)[0])
