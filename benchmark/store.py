"""Run directories: append, save, finish, read. A run is done when its ``summary.json`` exists; it is written last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees either the old file or the whole new one."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class RunStore:
    """The directory of one run."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def done(self) -> bool:
        return (self.folder / "summary.json").is_file()

    def summary(self) -> dict[str, Any]:
        """The finished run's summary; BenchmarkError if the file is damaged."""
        path = self.folder / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path}: cannot be read ({error}). Remove the run's folder and run again.") from None

    def start(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Begin anew: what an unfinished attempt left is removed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_json(self.folder / "config.json", config)
        write_json(self.folder / "environment.json", environment)

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Append a line to ``name`` (curve.jsonl, updates.jsonl, samples.jsonl)."""
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def save_adapters(self, iteration: int, policy: dict[str, Any], reward: dict[str, Any]) -> None:
        """Keep the trainable tensors as they are before ``iteration`` (0 = the start)."""
        from safetensors.torch import save_file

        folder = self.folder / "adapters" / f"iteration_{iteration}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(policy, folder / "policy.safetensors")
        save_file(reward, folder / "reward.safetensors")

    def save_policy(self, iteration: int, update: int, policy: dict[str, Any]) -> None:
        """Keep the policy's trainable tensors after ``update`` updates of the run, within ``iteration``."""
        from safetensors.torch import save_file

        folder = self.folder / "adapters" / f"iteration_{iteration}"
        save_file(policy, folder / f"policy_update_{update:07}.safetensors")

    def _update(self, kind: str, iteration: int) -> dict[str, Any]:
        from safetensors.torch import load_file

        folder = self.folder / "adapters"
        before = load_file(folder / f"iteration_{iteration}" / f"{kind}.safetensors")
        after = load_file(folder / f"iteration_{iteration + 1}" / f"{kind}.safetensors")
        return {name: after[name] - before[name] for name in after}

    def policy_update(self, iteration: int) -> dict[str, Any]:
        """Policy adapter after ``iteration`` minus before it, by tensor name."""
        return self._update("policy", iteration)

    def reward_update(self, iteration: int) -> dict[str, Any]:
        """Reward model's trainable tensors after the refinement of ``iteration`` minus before it."""
        return self._update("reward", iteration)

    def digests(self) -> dict[str, str]:
        """sha256 of every kept adapter file, by its place below ``adapters``."""
        folder = self.folder / "adapters"
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(folder.rglob("*.safetensors"))}

    def reduce(self) -> None:
        """Remove what no table and no plot of the report reads: adapters and the log of updates."""
        shutil.rmtree(self.folder / "adapters", ignore_errors=True)
        (self.folder / "updates.jsonl").unlink(missing_ok=True)

    def finish(self, summary: dict[str, Any]) -> None:
        write_json(self.folder / "summary.json", summary)

    def fail(self, kind: str, message: str, details: str = "") -> None:
        """Record why the run ended; what it wrote so far stays. ``details`` (a traceback) must hold no path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "error.json", {"type": kind, "message": message, "details": details})
