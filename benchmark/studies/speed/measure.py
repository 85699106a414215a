"""Time of one figure, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from baselines.contract import Estimator, Objective, Progress
from baselines.registry import METHODS, get_method
from benchmark.core.seeding import generator
from benchmark.lm.adapted import Tensors
from benchmark.lm.rollout import AnyBatch, Prompts
from benchmark.lm.sequences import Sequences
from benchmark.studies.speed import bare_calls
from benchmark.studies.speed.plan import WARM_START, Figure
from benchmark.studies.speed.stopwatch import COMPONENTS, Stopwatch
from benchmark.studies.speed.world import SEED, World

HALFWAY = Progress(0.5, 0.5)


class MadeUpHistory:
    """Updates as large as real ones, so that ZOPrO has something to perturb along and to project out."""

    def __init__(self, world: World):
        self.world = world

    def policy_update(self, iteration: int) -> Tensors:
        return self._random("policy update", self.world.policy.state())

    def reward_update(self, iteration: int) -> Tensors:
        return self._random("reward update", self.world.reward.state())

    @staticmethod
    def _random(name: str, state: Tensors) -> Tensors:
        return {key: 1e-3 * torch.randn(value.shape, generator=generator("bench", name, key))
                for key, value in state.items()}


def make_method(world: World, figure: Figure) -> tuple[Objective, Estimator]:
    """The method as a run puts it together, at the start of the wanted phase."""
    method, config = get_method(figure.name), world.config
    values, warm = method.resolved(config.methods), figure.variant == WARM_START
    objective = method.make_objective(world.context(), values)
    estimator = method.make_estimator({**world.policy.parameters, **objective.parameters}, values, SEED, warm=warm,
                                      stream=config.adapter.kind == "full")
    estimator.begin_iteration(0 if warm else method.warm_start, MadeUpHistory(world))
    return objective, estimator


def update(world: World, objective: Objective, estimator: Estimator, watch: Stopwatch
           ) -> tuple[AnyBatch, dict[str, Any]]:
    """One rollout and one update; seconds and forward tokens of each ledger, as a real run books them."""
    meter = world.meter
    before = {name: (meter.seconds[name], meter.tokens[name]) for name in ("rollout", "update")}
    watch.clear()
    watch.ledger = "rollout"
    with meter.ledger("rollout"):
        batch = objective.collect()
    watch.ledger = "update"
    with meter.ledger("update"):
        estimator.step(world.problem(objective, batch), HALFWAY)
    seconds = {name: meter.seconds[name] - before[name][0] for name in before}
    tokens = {name: meter.tokens[name] - before[name][1] for name in before}
    parts = {name: watch.seconds[name] for name in COMPONENTS if name in watch.seconds}
    in_rollout = sum(parts.get(name, 0.0) for name in ("generate", "reference", "score", "critic"))
    in_update = sum(parts.get(name, 0.0) for name in ("forward", "backward", "optimizer"))
    parts |= {"other_rollout": seconds["rollout"] - in_rollout, "other_update": seconds["update"] - in_update}
    return batch, {"seconds": sum(seconds.values()), **seconds, "parts": parts, "tokens": tokens,
                   "part_tokens": dict(watch.tokens), "batch_tokens": int(rows_of(world, batch).mask.sum())}


def rows_of(world: World, batch: AnyBatch) -> Sequences:
    """The rows of a batch; made up where its loss samples them."""
    return world.finished(batch.k) if isinstance(batch, Prompts) else batch.whole


def timed(world: World, call: Callable[[], Any]) -> float:
    """Seconds of ``call``."""
    world.synchronize()
    start = time.perf_counter()
    call()
    world.synchronize()
    return time.perf_counter() - start


def middle(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of median seconds, whole, so that its parts add up to it."""
    return sorted(rows, key=lambda row: row["seconds"])[len(rows) // 2]


def time_method(figure: Figure) -> dict[str, Any]:
    """The middle update's figures; ``each``, seconds of all updates; ``floor``, median seconds of the bare calls on the
    same rows between the updates: as many forwards as a zeroth-order update reads losses, forward and backward for the
    others."""
    world = World(figure.config, figure.warmup + figure.timed)
    objective, estimator = make_method(world, figure)
    method = METHODS[figure.name]
    zeroth = method.zeroth_order and figure.variant != WARM_START
    readings = method.estimator.passes(method.resolved(figure.config.methods), False) if zeroth else 0
    watch, rows, bare = Stopwatch(world), [], []
    with watch.attached(objective):
        for _ in range(figure.warmup + figure.timed):
            batch, row = update(world, objective, estimator, watch)
            sequences = rows_of(world, batch)
            calls = [partial(bare_calls.forward, world, sequences)] * readings or [
                partial(bare_calls.forward_backward, world, sequences)]
            bare.append(sum(timed(world, call) for call in calls))
            rows.append(row)
    rows, bare = rows[figure.warmup :], bare[figure.warmup :]
    return {**middle(rows), "each": [row["seconds"] for row in rows], "floor": median(bare),
            "update_median": median(row["update"] for row in rows)}


def time_floor(figure: Figure) -> dict[str, Any]:
    world = World(figure.config, 1)
    sequences, call = world.finished(bare_calls.K), bare_calls.CALLS[figure.name]
    each = [timed(world, lambda: call(world, sequences)) for _ in range(figure.warmup + figure.timed)][figure.warmup :]
    return {"seconds": median(each), "each": each, "batch_tokens": int(sequences.mask.sum())}


def time_figure(figure: Figure) -> dict[str, Any]:
    """Seconds of one update (or bare call), medians over the timed ones."""
    if figure.part == "peers":
        from benchmark.studies.speed.trl_reference import time_peer

        return time_peer(figure)
    return time_floor(figure) if figure.part == "floors" else time_method(figure)
