"""The clock with its ledgers, the account of compute, and the peak of memory.

One stack of ledgers attributes both time and forward tokens: whatever happens inside ``with meter.ledger("rollout")``
is booked there, so the ledgers add up to the wall time by construction, and only what a method does in the ledgers
``METHOD_LEDGERS`` is charged to its budget.

Forward tokens are policy-forward equivalents, padding excluded (the protocol's hardware-independent unit): a forward
over n tokens costs n; a backward n for the gradients of activations plus n × the share of parameters trained;
generation the prompt once and each new token once; other models n × (their parameters / the policy's).
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmark.core.errors import RunError

LEDGERS = {
    "setup": "loading data and models",
    "rollout": "sampling and scoring what the method learns from",
    "update": "updates of the policy",
    "refine": "refinement of the reward model",
    "evaluate": "evaluation",
    "log": "logs, checkpoints and the noise floor",
}
METHOD_LEDGERS = ("rollout", "update")


class Meter:
    """Books time and compute to ledgers; says what a method has spent.

    Args:
        clock: monotonic seconds (replaced by a fake one in tests).
        synchronize: waits for the device, so that time is booked where it was caused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, synchronize: Callable[[], None] = lambda: None):
        self._clock, self._synchronize = clock, synchronize
        self._stack = ["setup"]
        self._start = self._since = clock()
        self._before = 0.0  # seconds of interrupted attempts
        self.seconds = dict.fromkeys(LEDGERS, 0.0)
        self.tokens = dict.fromkeys(LEDGERS, 0.0)
        self.completions = self.generated_tokens = 0
        self.computed_tokens = 0.0
        self.updates = 0

    def _book(self) -> None:
        self._synchronize()
        now = self._clock()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def ledger(self, name: str) -> Iterator[None]:
        """Book what happens inside to ``name``; the enclosing ledger pauses."""
        if name not in LEDGERS:
            raise ValueError(f"no ledger {name!r}")
        self._book()
        self._stack.append(name)
        try:
            yield
        finally:
            self._book()
            self._stack.pop()

    def forward(self, tokens: float, share: float = 1.0) -> None:
        """Book a forward pass over ``tokens`` unpadded tokens by a model of ``share`` × the policy's parameters."""
        self.tokens[self._stack[-1]] += tokens * share

    def backward(self, tokens: float, trained: float, share: float = 1.0) -> None:
        """Book a backward pass; ``trained`` is the share of the model's parameters that receive gradients."""
        self.tokens[self._stack[-1]] += tokens * share * (1 + trained)

    def scored(self, completions: int) -> None:
        """Count completions that a method had scored by the reward model (nothing outside its ledgers counts)."""
        if self._stack[-1] in METHOD_LEDGERS:
            self.completions += completions

    def generated(self, tokens: int) -> None:
        """Count tokens that a method sampled, prompts and padding excluded (again, in its ledgers only)."""
        if self._stack[-1] in METHOD_LEDGERS:
            self.generated_tokens += tokens

    def computed(self, tokens: float) -> None:
        """Count forward tokens that a method's passes really computed. Not what it is charged: activations that
        readings share, and prompts that rows share, are booked for each of them and computed once."""
        if self._stack[-1] in METHOD_LEDGERS:
            self.computed_tokens += tokens

    def spent(self) -> dict[str, float]:
        """What the method has spent, in every kind of budget, and the tokens that it sampled and computed
        for it."""
        self._book()
        return {
            "forward_tokens": round(sum(self.tokens[name] for name in METHOD_LEDGERS), 3),
            "seconds": sum(self.seconds[name] for name in METHOD_LEDGERS),
            "completions": self.completions,
            "updates": self.updates,
            "generated_tokens": self.generated_tokens,
            "computed_tokens": round(self.computed_tokens, 3),
        }

    def wall_seconds(self) -> float:
        """Seconds since the meter was made, those of interrupted attempts included."""
        self._book()
        return self._since - self._start

    def state(self) -> dict[str, Any]:
        """Everything booked so far, for a checkpoint."""
        return {"wall": self.wall_seconds(), "seconds": dict(self.seconds), "tokens": dict(self.tokens),
                "completions": self.completions, "updates": self.updates, "generated_tokens": self.generated_tokens,
                "computed_tokens": self.computed_tokens}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from an interrupted run's accounts; all that this meter has booked itself was spent on setting up."""
        again = self.wall_seconds()
        self.seconds = dict.fromkeys(LEDGERS, 0.0) | state["seconds"]
        self.seconds["setup"] += again
        self.tokens = dict.fromkeys(LEDGERS, 0.0) | state["tokens"]
        self.completions, self.updates = state["completions"], state["updates"]
        self.generated_tokens = state.get("generated_tokens", 0)  # older checkpoints have none
        self._before = state["wall"]
        self.computed_tokens = state.get("computed_tokens", 0.0)
        self._start -= state["wall"]

    def close(self, elapsed: float) -> float:
        """Seconds of the run, interrupted attempts included, which the ledgers must add up to.

        Args:
            elapsed: seconds since the meter was made, by a clock that knows nothing of ledgers.

        Raises:
            RunError: they are more than 1 % apart, or a ledger is still open: what was charged would be wrong.
        """
        self._book()
        wall, booked = self._before + elapsed, sum(self.seconds.values())
        if abs(booked - wall) > 0.01 * wall or len(self._stack) > 1:
            raise RunError(f"the ledgers hold {booked:.3f} s of {wall:.3f} s (open: {', '.join(self._stack)}). The "
                           f"run's times cannot be trusted; nothing of it is used.")
        return wall


class PeakMemory:
    """Memory of a phase in MiB: allocated by tensors on the device with CUDA, else the process's resident set on Linux.

    ``start`` resets the peak. On CPU what was freed is first handed back to the system (glibc), so that an earlier
    phase does not stand in for this one; then the kernel's high-water mark (VmHWM) is reset through
    ``/proc/self/clear_refs``. Where that is not possible (other systems) the peak of the whole process is returned,
    which can only be too high. A resident set holds the interpreter, libraries and models too: compare it with
    ``now`` before the phase.
    """

    def __init__(self, cuda: bool):
        self._cuda = cuda

    def start(self) -> None:
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            return
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> float:
        """Highest value since ``start``."""
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        return self._status("VmHWM")

    def now(self) -> float:
        if self._cuda:
            import torch

            return torch.cuda.memory_allocated() / 2**20
        return self._status("VmRSS")

    @staticmethod
    def _status(field: str) -> float:
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith(field):
                    return int(line.split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
