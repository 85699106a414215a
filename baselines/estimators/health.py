"""Numerical health of updates: is there a slope, is the difference of two losses a signal, does the step arrive?"""

from __future__ import annotations

import math
from collections import Counter
from statistics import median, stdev

import torch

from baselines.contract import Problem
from baselines.estimators.perturbation import moved
from benchmark.core.errors import RunError
from benchmark.core.seeding import standard_normal

REPEATS = 4  # pairs of evaluations of the noise floor
NEAR = 3e-4  # ‖n‖/‖θ‖ in them at most


class Arrival:
    """What a perturbation εz and a step change in the parameters' own dtype, summed over tensors."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon
        self._sums: list[torch.Tensor] = []  # rows of changed, ‖θ‖², ‖z‖², ‖step‖², step·z
        self._entries = 0

    def note(self, before: torch.Tensor, after: torch.Tensor, z: torch.Tensor) -> None:
        """Note some tensors: θ before and after the update, and z, all flat (n,)."""
        theta, direction = before.float(), z.float()
        step = after.float() - theta
        self._entries += before.numel()
        changed = before.ne(torch.add(before, z, alpha=self.epsilon)).sum().float()
        self._sums.append(torch.stack([changed, theta.dot(theta), direction.dot(direction), step.dot(step),
                                       step.dot(direction)]))

    def figures(self) -> dict[str, float]:
        """``z_norm``, ``step_norm``, ``relative_perturbation`` = ‖εz‖/‖θ‖, ``changed_share`` of the entries that
        θ + εz changes, ``step_cosine`` between the step and z (0 where one of them is zero)."""
        changed, *squares, along = torch.stack(self._sums).double().sum(0).tolist()
        theta, z, step = map(math.sqrt, squares)
        return {"z_norm": z, "step_norm": step, "relative_perturbation": self.epsilon * z / (theta or 1.0),
                "changed_share": changed / self._entries, "step_cosine": along / (z * step) if z * step > 0 else 0.0}


@torch.no_grad()
def noise_floor(parameters: dict[str, torch.nn.Parameter], sizes: dict[str, float], problem: Problem,
                *seed: object) -> float:
    """How large |L₊ − L₋| becomes by noise alone, in 95 % of cases: rounding, and whatever else differs from one
    evaluation of a loss to the next.

    For random n as long as the perturbation, but short enough (``NEAR``) for the loss not to bend, L(θ + n) + L(θ − n)
    holds no slope. What is left of it, apart from its mean, is noise with the variance of L₊ − L₋. So: twice the
    standard deviation of that sum over ``REPEATS`` random n.
    θ is dithered by one rounding unit of its dtype each time and the rows come in another order, because a
    deterministic kernel that is merely called again returns the same bits (Monte-Carlo arithmetic, Parker 1997).
    Never below the spacing of float32 at the size of the loss's terms.

    Args:
        sizes: ‖εz‖ of each tensor that is perturbed.
        problem: what an estimator's step had.
        seed: names of the random stream.

    Raises:
        RunError: the loss is not finite.
    """
    total = math.sqrt(sum(parameter.float().square().sum().item() for parameter in parameters.values()))
    scale = min(1.0, NEAR * total / (math.hypot(*sizes.values()) or 1.0))
    terms = 0.0

    def evaluate(repeat: int, sign: int) -> float:
        nonlocal terms

        def at(name: str) -> torch.Tensor:
            theta = parameters[name].data
            unit = torch.finfo(theta.dtype).eps
            n = standard_normal(theta.float(), "noise", *seed, repeat, name)
            dither = standard_normal(theta.float(), "dither", *seed, repeat, sign, name).clamp(-1, 1)
            return (theta * (1 + dither * unit) + n * (sign * scale * sizes.get(name, 0.0) / n.norm())).to(theta.dtype)

        with moved(parameters, at):
            parts = problem.terms("noise order", *seed, repeat, sign)
        terms = max(terms, sum(map(abs, parts)))
        return sum(parts)

    sums = [evaluate(repeat, 1) + evaluate(repeat, -1) for repeat in range(REPEATS)]
    if not math.isfinite(sum(sums)):
        raise RunError(f"diverged: the loss is {sum(sums)} beside the policy itself. Lower the learning rate.")
    single = torch.finfo(torch.float32)
    return max(2 * stdev(sums), single.eps * terms, single.tiny)


class Health:
    """Collects the figures of a run's updates."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, dict[str, float]]] = []  # of the zeroth-order ones
        self._flat: list[tuple[int, bool]] = []  # whether the slope is exactly zero

    def note(self, iteration: int, figures: dict[str, float]) -> None:
        """One update's figures; ``noise_floor`` is among those of a zeroth-order one."""
        zeroth = "noise_floor" in figures
        self._flat.append((iteration, figures.get("difference" if zeroth else "gradient_norm") == 0))
        if zeroth:
            self._rows.append((iteration, figures))

    def summary(self) -> dict[str, float] | None:
        """Medians over the zeroth-order updates, and the share whose |L₊ − L₋| is below the noise floor; None for a
        run that made none."""
        if not self._rows:
            return None
        middle = {f"median_{name}": median(abs(figures[name]) for _, figures in self._rows)
                  for name in ("relative_perturbation", "changed_share", "step_cosine", "step_norm", "z_norm")}
        return {"updates": len(self._rows), "below_noise": sum(map(_below, self._rows)) / len(self._rows),
                "median_signal_to_noise": median(_ratio(row) for row in self._rows), **middle}

    def warnings(self) -> list[str]:
        """The words for a run most of whose updates have no slope, or most of whose zeroth-order ones follow noise."""
        zero = _most(self._flat, "zero gradient: in", "updates the slope is exactly zero: the batch says nothing")
        return zero + _most([(iteration, _below((iteration, figures))) for iteration, figures in self._rows],
                            "below noise: in", "zeroth-order updates the two losses differ by less than the noise of "
                            "evaluating one")


def _most(updates: list[tuple[int, bool]], before: str, after: str) -> list[str]:
    """The words for (iteration, whether it is so) of updates, if it is so for more than half."""
    some = Counter(iteration for iteration, so in updates if so)
    if some.total() <= len(updates) / 2:
        return []
    every = Counter(iteration for iteration, _ in updates)
    listed = ", ".join(f"{some[i]} of {every[i]} in iteration {i + 1}" for i in sorted(some))
    return [f"{before} {some.total()} of {len(updates)} {after} ({listed})"]


def _ratio(row: tuple[int, dict[str, float]]) -> float:
    return abs(row[1]["difference"]) / row[1]["noise_floor"]


def _below(row: tuple[int, dict[str, float]]) -> bool:
    return _ratio(row) < 1
