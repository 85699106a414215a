"""Losses of direct preference optimisation, on the log-ratios of policy to reference.

For a pair with a = log π(chosen)/π₀(chosen) and b = log π(rejected)/π₀(rejected), sums over the completion's tokens
including EOS; x = β (a − b). Formulas as in TRL's DPO trainer unless said otherwise.
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid, sigmoid

TEMPERATURE = 0.05  # of discopop's blend (Lu et al. 2024)


def preference_loss(name: str, a: torch.Tensor, b: torch.Tensor, beta: float, smoothing: float = 0.0,
                    lengths: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:
    """Loss of each pair.

    Args:
        name: sigmoid (Rafailov et al. 2023), cdpo, robust, hinge, ipo (sums, Azar et al. 2023), ipo_mean (the same on
            per-token means, as TRL has it), exo_pair, nca_pair, sppo_hard, apo_zero, apo_down, discopop (= LRML).
        a, b: (B,) log-ratios of chosen and rejected.
        beta: strength of the pull to the reference.
        smoothing: assumed share of wrong labels (cdpo, robust, exo_pair; exo_pair takes 1e-3 for 0).
        lengths: tokens of chosen and rejected (B,), for ipo_mean.
    """
    x = beta * (a - b)
    if name == "sigmoid":
        return -logsigmoid(x)
    if name == "cdpo":
        return -(1 - smoothing) * logsigmoid(x) - smoothing * logsigmoid(-x)
    if name == "robust":
        return (-(1 - smoothing) * logsigmoid(x) + smoothing * logsigmoid(-x)) / (1 - 2 * smoothing)
    if name == "hinge":
        return torch.relu(1 - x)
    if name == "ipo":
        return (a - b - 1 / (2 * beta)).square()
    if name == "ipo_mean":
        if lengths is None:
            raise ValueError("ipo_mean needs the lengths of the completions")
        return (a / lengths[0] - b / lengths[1] - 1 / (2 * beta)).square()
    if name == "exo_pair":
        e = torch.tensor(smoothing or 1e-3, dtype=x.dtype, device=x.device)
        q = sigmoid(x)
        return q * (logsigmoid(x) - torch.log1p(-e)) + (1 - q) * (logsigmoid(-x) - e.log())
    if name == "nca_pair":
        return -logsigmoid(beta * a) - 0.5 * logsigmoid(-beta * a) - 0.5 * logsigmoid(-beta * b)
    if name == "sppo_hard":
        return (a - 1 / (2 * beta)).square() + (b + 1 / (2 * beta)).square()
    if name == "apo_zero":
        return 1 - sigmoid(beta * a) + sigmoid(beta * b)
    if name == "apo_down":
        return sigmoid(beta * a) + 1 - sigmoid(x)
    if name == "discopop":
        m = sigmoid(x / TEMPERATURE)
        return (1 - m) * -logsigmoid(x) + m * (-x).exp()
    raise ValueError(f"no preference loss {name!r}")
