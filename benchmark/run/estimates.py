"""How far an expectation under π lies from the one under π₀, and how well that is known.

Everything is (N, n): N prompts, n completions each. An increase is estimated for every prompt by itself; the mean over
prompts is the result, and their spread gives its standard error, which so holds what prompts and samples scatter.
"""

from __future__ import annotations

import math

import torch


def effective_share(log_ratios: torch.Tensor) -> float:
    """Effective share of completions of π₀ that are weighted by π/π₀: (Σw)² / (M · Σw²) of all M (Kish 1965).

    It is at most the mean weight, which is 1 but for chance: weights that are all small have missed where π is.

    Args:
        log_ratios: log(π/π₀) of each completion.
    """
    logs = log_ratios.double().flatten()
    weights = (logs - logs.max()).exp()
    return min((weights.sum() ** 2 / (len(weights) * (weights**2).sum())).item(), logs.exp().mean().item())


def weighted_increases(ratios: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """E_π[f] − E_π₀[f] = E_π₀[(π/π₀ − 1) f] of each prompt (N,), from completions of π₀.

    π/π₀ − 1 has mean 0, so that any constant can be taken from f: here the mean over the prompt's other completions,
    which leaves the estimate unbiased and takes out what prompts differ by. The sum is the sample covariance of π/π₀
    and f.

    Args:
        ratios: π/π₀ of each completion. values: f of each; n ≥ 2.
    """
    centred = values - values.mean(1, keepdim=True)
    return ((ratios - 1) * centred).sum(1) / (values.shape[1] - 1)


def paired_increases(values: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """The same (N,) from ``values`` of completions of π and ``base`` of completions of π₀, both sampled."""
    return values.mean(1) - base.mean(1)


def standard_error(increases: torch.Tensor) -> float:
    """Of the mean over prompts (N,); 0 where one prompt shows no spread."""
    return increases.std().item() / math.sqrt(len(increases)) if len(increases) > 1 else 0.0
