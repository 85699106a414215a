"""Hand-made trajectories as run directories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmark.plan.resolve import Config, with_section
from benchmark.plan.run import Run
from benchmark.run.store import RunStore, write_json

SHAPES = {"model.layers.0.q_proj.weight": (24, 10), "model.layers.0.up_proj.weight": (30, 10),
          "model.layers.1.q_proj.weight": (24, 10), "model.norm.weight": (16,)}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())


def tensors(vector: np.ndarray, shapes: dict[str, tuple[int, ...]] | None = None) -> dict[str, torch.Tensor]:
    """One vector of all coordinates, cut into tensors."""
    found, start = {}, 0
    for name, shape in (shapes or SHAPES).items():
        size = int(np.prod(shape))
        found[name] = torch.tensor(vector[start : start + size].reshape(shape))
        start += size
    return found


def states(updates: list[np.ndarray], seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """The states before, between and after ``updates``, from a random start; float64, so that nothing is rounded."""
    start = np.random.default_rng(seed).standard_normal(SIZE)
    return [tensors(start + sum(updates[:k], np.zeros(SIZE))) for k in range(len(updates) + 1)]


def write_run(folder: Path, policy: list[dict], reward: list[dict], *, task: str = "hh_rlhf", method: str = "rloo",
              seed: int = 0, rank: int | None = None, between: dict[tuple[int, int], dict] | None = None
              ) -> tuple[Run, RunStore]:
    """A finished run directory with these states.

    Args:
        rank: of LoRA factors; None = all parameters are trained.
        between: (iteration, update) → policy state kept within an iteration.
    """
    adapter = {"rank": rank, "alpha": 2 * rank} if rank else {"kind": "full"}
    config = with_section(Config(profile="toy"), "adapter", adapter, "test")
    run = Run(task, method, seed, config, {"task_version": "1.0", "revision": "toy"})
    store = RunStore(folder / run.name)
    store.start({"run": run.identity(), "config": run.resolved()}, {})
    for number, (p, r) in enumerate(zip(policy, reward, strict=True)):
        store.save_adapters(number, p, {**r, "score.weight": torch.ones(1, 10)})
    for (iteration, update), state in (between or {}).items():
        store.save_policy(iteration, update, state)
    write_json(store.folder / "summary.json", {"status": "done"})
    return run, store


def unit(seed: int, size: int = SIZE) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(size)
    return vector / np.linalg.norm(vector)


def plane(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Two orthonormal directions."""
    first, second = unit(seed), unit(seed + 1)
    second = second - (second @ first) * first
    return first, second / np.linalg.norm(second)


def at(angle: float, length: float = 1.0) -> np.ndarray:
    """An update in a fixed plane, at ``angle`` degrees."""
    first, second = plane()
    return length * (np.cos(np.radians(angle)) * first + np.sin(np.radians(angle)) * second)


def factors(rng: np.random.Generator, rank: int = 3) -> dict[str, torch.Tensor]:
    """LoRA factors of three modules in two layers; save_file needs contiguous tensors."""
    found = {}
    for name, (m, n) in (("model.layers.0.q_proj", (20, 12)), ("model.layers.0.up_proj", (26, 12)),
                         ("model.layers.1.q_proj", (20, 12))):
        found[f"{name}.lora_A.weight"] = torch.tensor(rng.standard_normal((rank, n)))
        found[f"{name}.lora_B.weight"] = torch.tensor(rng.standard_normal((m, rank)))
    return found


def moved(state: dict[str, torch.Tensor], rng: np.random.Generator, size: float) -> dict[str, torch.Tensor]:
    return {name: value + size * torch.tensor(rng.standard_normal(tuple(value.shape))) for name, value in state.items()}


def dense(state: dict[str, torch.Tensor], scale: float) -> np.ndarray:
    """All weights that the factors of ``state`` stand for, as one vector."""
    names = sorted(name.removesuffix(".lora_A.weight") for name in state if name.endswith("lora_A.weight"))
    return np.concatenate([(scale * state[f"{n}.lora_B.weight"] @ state[f"{n}.lora_A.weight"]).numpy().ravel()
                           for n in names])


def rewrite(store: RunStore, place: str, state: dict[str, torch.Tensor]) -> None:
    save_file(state, store.folder / "adapters" / place)
