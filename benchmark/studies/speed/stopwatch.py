"""Where the time of an update goes: the calls that do the numerical work are wrapped, the rest is overhead."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch

from baselines.contract import Objective
from benchmark.studies.speed.world import World

# In the order of a chart. `other_*` is what is left of a ledger: batches, encoding, padding, bookkeeping, and with
# zeroth-order updates the perturbation and the step themselves.
COMPONENTS = ("generate", "reference", "score", "critic", "forward", "backward", "optimizer", "other_rollout",
              "other_update")


class Stopwatch:
    """Seconds and booked forward tokens by component; within nested calls the outermost has it all."""

    def __init__(self, world: World):
        self.world = world
        self.ledger = "rollout"
        self.seconds: dict[str, float] = defaultdict(float)
        self.tokens: dict[str, float] = defaultdict(float)
        self._busy = False

    def clear(self) -> None:
        self.seconds.clear()
        self.tokens.clear()

    def _wrapped(self, call: Callable, rollout: str, update: str) -> Callable:
        """``call``, booked under one name or the other, by the ledger it happens in."""
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._busy:
                return call(*args, **kwargs)
            name, meter = (rollout if self.ledger == "rollout" else update), self.world.meter
            booked = sum(meter.tokens.values())
            self._busy = True
            self.world.synchronize()
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.world.synchronize()
                self.seconds[name] += time.perf_counter() - start
                self.tokens[name] += sum(meter.tokens.values()) - booked
                self._busy = False

        return timed

    @contextlib.contextmanager
    def attached(self, objective: Objective) -> Iterator[None]:
        """Inside, everything that counts as numerical work is timed."""
        world, critic = self.world, getattr(objective, "critic", None)
        points = [
            (world.policy, "generate", "generate", "generate"), (world.policy, "logprobs", "reference", "forward"),
            (world.reward, "score_chunked", "score", "score"), (torch.Tensor, "backward", "backward", "backward"),
            (torch.optim.AdamW, "step", "optimizer", "optimizer"),
            (torch.nn.utils, "clip_grad_norm_", "optimizer", "optimizer"),
            *([(critic, "values_chunked", "critic", "critic"), (critic, "values", "critic", "forward")]
              if critic else []),
        ]
        with contextlib.ExitStack() as stack:
            for owner, attribute, rollout, update in points:
                call = self._wrapped(getattr(owner, attribute), rollout, update)
                stack.enter_context(patch.object(owner, attribute, call))
            yield
