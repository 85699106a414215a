"""Gaussian directions for a part of what is trained: one block after the other, or the entries that are small."""

from __future__ import annotations

import re

import torch

from baselines import hyperparameters as hp
from baselines.contract import Direction, Noise, Progress
from benchmark.core.checkpoint import Saved
from benchmark.core.errors import ConfigError

LAYER = re.compile(r"\.layers?\.(\d+)\.|\.h\.(\d+)\.")


class Blocks(Direction):
    """One block of tensors an update, in turn (block coordinate descent); the rest stays."""

    settings: hp.BlocksSettings

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.BlocksSettings):
        super().__init__(parameters, settings)
        blocks: dict[str, set[str]] = {}
        for name in parameters:
            layer = LAYER.search(f".{name}") if settings.block == "layer" else None
            blocks.setdefault(layer[0] if layer else name, set()).add(name)
        self.blocks, self.present = list(blocks.values()), 0

    def begin(self, update: int, progress: Progress) -> None:
        self.present = update % len(self.blocks)

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor | None:
        return noise() if name in self.blocks[self.present] else None

    def figures(self) -> dict[str, float]:
        return {"block": self.present}


class SmallWeights(Direction):
    """Sparse-MeZO (Liu et al. 2024, arXiv 2402.15751): z ~ N(0, I) of entries with |θ| at most a threshold of their
    tensor, 0 of the others. The thresholds are quantiles of |θ| when the first update is made, and stay."""

    settings: hp.SmallWeightsSettings

    def __init__(self, parameters: dict[str, torch.nn.Parameter], settings: hp.SmallWeightsSettings):
        super().__init__(parameters, settings)
        if adapters := [name for name in parameters if "lora" in name]:
            raise ConfigError(f"sparse-mezo: {adapters[0]} belongs to an adapter, and the size of its entries says "
                              f"nothing: one factor starts at random, the other at zero. It picks among a model's own "
                              f"weights: train all of them (adapter.kind=full), or use mezo.")
        self.thresholds: dict[str, float] = {}

    def z(self, name: str, theta: torch.Tensor, noise: Noise) -> torch.Tensor:
        if not self.settings.sparsity:
            return noise()
        if name not in self.thresholds:
            moved = max(1, round((1 - self.settings.sparsity) * theta.numel()))
            self.thresholds[name] = theta.abs().flatten().float().kthvalue(moved).values.item()
        return noise() * (theta.abs() <= self.thresholds[name])

    def state(self) -> Saved:
        return {"thresholds": dict(self.thresholds)}

    def load_state(self, state: Saved) -> None:
        self.thresholds = dict(state["thresholds"])
