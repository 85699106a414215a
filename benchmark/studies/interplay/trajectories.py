"""The adapters that a run kept, read tensor by tensor: nothing larger than a block of one tensor is held at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from benchmark.core.errors import ConfigError, DataError
from benchmark.core.escape import visible
from benchmark.core.paths import within

BLOCK_ENTRIES = 2**23  # numbers of one block over all states (64 MiB as float64)
FACTOR = re.compile(r"^(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?:\.weight|\.default)?$")
LAYER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")
OUTSIDE = "outside"  # the layer of tensors that belong to none (embeddings, final norm)
ITERATION = re.compile(r"iteration_([0-9]{1,9})")
UPDATE = re.compile(r"policy_update_([0-9]{7,9})\.safetensors")


@dataclass(frozen=True)
class Module:
    """One weight that is trained.

    Attributes:
        name: of the adapted module, or of the tensor itself where all weights are trained.
        layer: number of its transformer layer as text, or ``outside``.
        tensors: name → shape; for a LoRA module A (r, n) first, then B (m, r).
        lora: whether ``tensors`` are the two factors of a LoRA update.
    """

    name: str
    layer: str
    tensors: dict[str, tuple[int, ...]]
    lora: bool


class Trajectory:
    """Policy and reward model of one run at every moment that was kept.

    Only tensors that both models train are looked at: the reward model's head and the policy's output layer have no
    counterpart.

    Args:
        folder: the run directory.
        layer: look at this transformer layer only.

    Attributes:
        policy: files of the policy's states in order; those between iterations exist with ``execution.keep_every``.
        reward: files of the reward model's states, one before every iteration and one after the last.
        ends: places in ``policy`` of the states before each iteration and after the last.
        updates: update number of every state in ``policy``, None for those of ``ends``.

    Raises:
        ConfigError: no adapters were kept, fewer than two states, or no such layer.
        DataError: a file is missing, damaged, none that a run keeps, or holds other tensors than the first.
        BenchmarkError: a file leads out of ``folder``.
    """

    def __init__(self, folder: Path, layer: str | None = None):
        kept = folder / "adapters"
        if not kept.is_dir():
            raise ConfigError(f"{folder}: no adapters (execution.keep=curves, or removed). Run it again into another "
                              f"folder with execution.keep=all.")
        numbers = sorted(_number(ITERATION, path) for path in kept.glob("iteration_*"))
        if len(numbers) < 2 or numbers != list(range(len(numbers))):
            raise ConfigError(f"{kept}: holds the states before iterations {numbers}; at least two in a row from 0 are "
                              f"needed. Run it again.")
        self.folder, self.policy, self.reward, self.ends = folder, list[Path](), list[Path](), list[int]()
        self.updates: list[int | None] = []
        for number in numbers:
            here = kept / f"iteration_{number}"
            self.ends.append(len(self.policy))
            self.policy.append(here / "policy.safetensors")
            self.updates.append(None)
            self.reward.append(here / "reward.safetensors")
            if number < numbers[-1]:
                found = {_number(UPDATE, path): path for path in here.glob("policy_update_*.safetensors")}
                self.policy += [found[update] for update in sorted(found)]
                self.updates += sorted(found)
        for path in (*self.policy, *self.reward):
            within(folder, path)
        shapes = self._shapes()
        self.layers = sorted({_layer(name) for name in shapes}, key=_order)
        if layer is not None:
            if layer not in self.layers:
                raise ConfigError(f"{folder.name}: no layer {layer!r} is trained. Known: {', '.join(self.layers)}.")
            shapes = {name: shape for name, shape in shapes.items() if _layer(name) == layer}
            self.layers = [layer]
        self.modules = _modules(shapes)
        self.parameters = sum(int(np.prod(shape)) for shape in shapes.values())

    @property
    def iterations(self) -> int:
        return len(self.ends) - 1

    @property
    def lora(self) -> bool:
        return any(module.lora for module in self.modules)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that both models train, checked over all states."""
        policy, reward = _agreed(self.policy), _agreed(self.reward)
        # A single number has no direction, only a sign, and an empty tensor nothing at all.
        shared = {name: shape for name, shape in sorted(policy.items())
                  if reward.get(name) == shape and shape and 0 not in shape}
        if not shared:
            raise DataError(f"{self.folder}: policy and reward model train no tensor of the same name and shape, so "
                            f"that there is nothing to compare.")
        return shared

    def tensor(self, path: Path, name: str, rows: slice = slice(None)) -> np.ndarray:
        """``rows`` of a tensor, float64; the file is closed again, so that its pages do not stay in memory.

        Raises:
            DataError: it cannot be read, or holds a value that is not finite.
        """
        try:
            with safe_open(path, framework="pt") as file:
                values = file.get_slice(name)[rows].to(torch.float64).numpy()
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be read ({error}). Run it again.") from None
        if not np.isfinite(values).all():
            raise DataError(f"{path}: tensor {visible(name)} holds values that are not finite. Leave this run out "
                            f"(--method, --seed).")
        return values

    def blocks(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
        """Entries of a tensor in all states, a few rows at a time.

        Yields:
            Place of the first entry, and (policy states + reward states, entries) float64.
        """
        files = [*self.policy, *self.reward]
        width = int(np.prod(shape[1:]))
        count = max(1, BLOCK_ENTRIES // (len(files) * width))
        for start in range(0, shape[0], count):
            rows = slice(start, min(start + count, shape[0]))
            block = np.empty((len(files), (rows.stop - start) * width))
            for place, path in enumerate(files):
                block[place] = self.tensor(path, name, rows).ravel()
            yield start * width, block


def _number(pattern: re.Pattern[str], path: Path) -> int:
    """The number in the name of what a run keeps; DataError if the name is another."""
    found = pattern.fullmatch(path.name)
    if not found:
        raise DataError(f"{visible(str(path))}: a run keeps nothing of that name. Remove it.")
    return int(found[1])


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a file, without its contents."""
    if not path.is_file():
        raise DataError(f"{path}: cannot be read (no such file). Run it again.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Run it again.") from None


def _agreed(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes that all files have in common; DataError if one has others."""
    first = _header(files[0])
    for path in files[1:]:
        if (found := _header(path)) != first:
            odd = sorted(found.items() ^ first.items())[0][0]
            raise DataError(f"{path}: tensor {visible(odd)} is not as in {files[0]}. The adapters of a run must come "
                            f"from one run; run it again.")
    return first


def _layer(name: str) -> str:
    found = LAYER.search(name)
    return found[1] if found else OUTSIDE


def _order(layer: str) -> tuple[bool, int]:
    return layer == OUTSIDE, 0 if layer == OUTSIDE else int(layer)


def _modules(shapes: dict[str, tuple[int, ...]]) -> list[Module]:
    """The tensors put together: LoRA factors in pairs, everything else by itself."""
    pairs: dict[str, dict[str, str]] = {}
    for name in shapes:
        if (found := FACTOR.match(name)) and len(shapes[name]) == 2:
            pairs.setdefault(found["module"], {})[found["side"]] = name
    whole = {module: sides for module, sides in pairs.items()
             if len(sides) == 2 and shapes[sides["A"]][0] == shapes[sides["B"]][1]}
    paired = {name for sides in whole.values() for name in sides.values()}
    modules = [Module(name, _layer(name), {sides[s]: shapes[sides[s]] for s in "AB"}, True)
               for name, sides in whole.items()]
    modules += [Module(name, _layer(name), {name: shapes[name]}, False) for name in shapes if name not in paired]
    return sorted(modules, key=lambda module: (_order(module.layer), module.name))
