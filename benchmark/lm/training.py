"""Supervised training shared by all methods: SFT, reward-model training and refinement. One optimisation loop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

import torch
from torch.nn.functional import logsigmoid

from benchmark.core.checkpoint import Periodic, Saved, load_optimizer_state, optimizer_state
from benchmark.core.errors import RunError
from benchmark.core.sections import SFT, Loop, RewardTraining
from benchmark.core.seeding import ShuffledPasses, global_seed
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import chunks

Pair = tuple[str, str, str]  # prompt body, completion A, completion B
Scored = tuple[str, str, float]  # prompt body, completion, score


def batches(length: int, size: int, steps: int, *seed: object) -> list[list[int]]:
    """Row indices of ``steps`` batches of ``size``."""
    order = ShuffledPasses(length, *seed)
    return [order.take(size) for _ in range(steps)]


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate over ``steps``: 10 % linear warm-up to ``lr``, then cosine to zero; or linear to zero."""

    steps: int
    lr: float
    cosine: bool = True

    def rate(self, step: int) -> float:
        warm = (step + 1) / max(1, self.steps // 10)
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.lr * (min(warm, decay) if self.cosine else 1 - step / self.steps)


def fit(parameters: list[torch.nn.Parameter], schedule: RateSchedule, losses: Callable[[int], Iterator[torch.Tensor]],
        stage: str, seed: object = None, saving: Periodic | None = None) -> float:
    """Minimise by AdamW, gradient norm clipped at 1.

    Args:
        losses: yields, for a step, the losses of its micro-batches, which add up to the step's loss.
        stage: what is trained, for the error message.
        seed: names of the random stream of dropout; None where there is no dropout.
        saving: told the share done after every step, and takes checkpoints; a training that finds one goes on from it.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        RunError: the loss is not finite.
    """
    optimizer, history = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=0.0), []
    if saving and (saved := saving.load()):
        history = saved["history"]
        load_optimizer_state(optimizer, saved["optimizer"])
        with torch.no_grad():
            for parameter, value in zip(parameters, saved["parameters"], strict=True):
                parameter.copy_(value)

    def state() -> Saved:
        return {"history": history, "parameters": parameters, "optimizer": optimizer_state(optimizer)}

    for step in range(len(history), schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        with nullcontext() if seed is None else global_seed("dropout", stage, seed, step):
            for value in losses(step):
                value.backward()
                total += value.item()
        if not math.isfinite(total):
            raise RunError(f"{stage}: the loss is {total} at step {step}. Lower its learning rate ({schedule.lr:g}).")
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append(total)
        if saving:
            saving.offer(state, len(history) / schedule.steps)
    tail = history[-max(1, schedule.steps // 10) :]
    return sum(tail) / len(tail)


def step_count(settings: SFT | RewardTraining, rows: int) -> int:
    """Optimiser steps: as configured, or as many as the configured passes over ``rows`` take."""
    return math.ceil(settings.epochs * rows / settings.batch) if settings.epochs else settings.steps


def train_sft(policy: Policy, examples: Sequence[tuple[str, str]], settings: SFT, micro_batch: int, seed: object,
              saving: Periodic | None = None) -> float:
    """Supervised fine-tuning on (prompt body, completion); loss on the completion and its EOS only (nats per token)."""
    encoder, batch, steps = policy.encoder, settings.batch, step_count(settings, len(examples))
    rows = [(encoder.prompt(prompt), encoder.completion(text)) for prompt, text in examples]
    plan = batches(len(rows), batch, steps, "sft", seed)

    def losses(step: int) -> Iterator[torch.Tensor]:
        tokens = sum(len(rows[i][1]) for i in plan[step])
        for part in chunks(batch, micro_batch):
            chosen = [rows[i] for i in plan[step][part]]
            sequences = encoder.pad_rows([p for p, _ in chosen], [c for _, c in chosen], policy.device)
            yield -policy.logprobs(sequences).sum() / tokens

    return fit(_trainable(policy), RateSchedule(steps, settings.lr), losses, "SFT", seed, saving)


def bradley_terry(margin: torch.Tensor, preference: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Bradley–Terry loss per pair for score margins s(A) − s(B) and P(A preferred) in [0, 1] (0.5 = a tie)."""
    return -(preference * logsigmoid(margin) + (1 - preference) * logsigmoid(-margin))


def train_reward(model: RewardModel, pairs: Sequence[Pair], scored: Sequence[Scored], settings: RewardTraining,
                 micro_batch: int, seed: object, saving: Periodic | None = None) -> float:
    """Train r on preferred-first pairs (Bradley–Terry) and, where there are any, on scores (squared error)."""
    batch = settings.batch
    plan, score_plan = reward_plans(pairs, scored, settings, seed)

    def losses(step: int) -> Iterator[torch.Tensor]:
        for part in chunks(batch, micro_batch // 2):
            yield bradley_terry(margins(model, [pairs[i] for i in plan[step][part]])).sum() / batch
        for part in chunks(batch, micro_batch) if score_plan else ():
            rows = [scored[i] for i in score_plan[step][part]]
            predicted = model.score(model.encoder.rows([(p, c) for p, c, _ in rows], model.device))
            target = torch.tensor([s for *_, s in rows], device=predicted.device)
            yield settings.score_weight * (predicted - target).square().sum() / batch

    return fit(_trainable(model), RateSchedule(len(plan), settings.lr), losses, "reward model", seed, saving)


def reward_plans(pairs: Sequence[Pair], scored: Sequence[Scored], settings: RewardTraining, seed: object
                 ) -> tuple[list[list[int]], list[list[int]]]:
    """The rows of each step of :func:`train_reward`: of ``pairs``, and of ``scored`` (none if they are not used)."""
    steps = step_count(settings, len(pairs))
    use_scores = bool(scored) and settings.score_weight > 0
    return (batches(len(pairs), settings.batch, steps, "reward", seed),
            batches(len(scored), settings.batch, steps, "score", seed) if use_scores else [])


def seen_once(pairs: Sequence[Pair], scored: Sequence[Scored], settings: RewardTraining, seed: object
              ) -> tuple[list[Pair], list[Scored]]:
    """The rows that so many steps would have seen, each once."""
    plan, score_plan = reward_plans(pairs, scored, settings, seed)
    return ([pairs[row] for row in dict.fromkeys(chain(*plan))],
            [scored[row] for row in dict.fromkeys(chain(*score_plan))])


def reward_cost(model: RewardModel, pairs: Sequence[Pair], scored: Sequence[Scored], settings: RewardTraining,
                seed: object) -> tuple[float, int]:
    """What :func:`train_reward` takes, whether it is interrupted or not.

    Returns:
        Forward tokens, booked as a run's are (:mod:`benchmark.core.meter`), and labels: pairs and scores that it sees,
        each counted once.
    """
    plan, score_plan = reward_plans(pairs, scored, settings, seed)
    encoder, seen, marked = model.encoder, Counter(chain(*plan)), Counter(chain(*score_plan))
    said = [(pairs[row][0], text, times) for row, times in seen.items() for text in pairs[row][1:]]
    said += [(scored[row][0], scored[row][1], times) for row, times in marked.items()]
    once = settings.parameters == "head"  # its features are read once
    tokens = sum((1 if once else times) * (len(encoder.prompt(prompt)) + len(encoder.completion(text)))
                 for prompt, text, times in said)
    return tokens * (1 if once else 2 + model.trained), len(seen) + len(marked)


def refine_reward(model: RewardModel, pairs: Sequence[Pair], preferences: Sequence[float], loop: Loop,
                  micro_batch: int, seed: object) -> int:
    """Refine r on judged pairs; ``preferences`` is P(A preferred) of each. Learning rate linear to zero.

    A pair whose completions are the same tokens to r keeps its place in the batches and weighs nothing: whatever the
    judge says of it, its slope is zero but for rounding, of which AdamW would make steps.

    Returns:
        The number of such pairs.
    """
    equal = model.encoder.alike([a for _, a, _ in pairs], [b for *_, b in pairs])
    if all(equal):
        return len(pairs)
    size = min(loop.refine_batch, len(pairs))
    plan = batches(len(pairs), size, math.ceil(len(pairs) * loop.refine_epochs / size), "refine", seed)

    def losses(step: int) -> Iterator[torch.Tensor]:
        for part in chunks(size, micro_batch // 2):
            rows = plan[step][part]
            target = torch.tensor([preferences[i] for i in rows], device=model.device)
            same = torch.tensor([equal[i] for i in rows], device=model.device)
            yield bradley_terry(margins(model, [pairs[i] for i in rows]), target).masked_fill(same, 0.0).sum() / size

    schedule = RateSchedule(len(plan), loop.refine_lr, cosine=False)
    fit(_trainable(model), schedule, losses, "reward-model refinement")
    return sum(equal)


def margins(model: RewardModel, pairs: Sequence[Pair]) -> torch.Tensor:
    """s(A) − s(B) for each pair (B,); one forward for both sides."""
    rows = [(p, a) for p, a, _ in pairs] + [(p, b) for p, _, b in pairs]
    first, second = model.score(model.encoder.rows(rows, model.device)).chunk(2)
    return first - second


@torch.no_grad()
def accuracy(model: RewardModel, pairs: Sequence[Pair]) -> float:
    """Share of preferred-first pairs that r ranks as labelled (a tie counts a half)."""
    values = torch.cat([margins(model, pairs[rows]) for rows in chunks(len(pairs), model.batch)])
    return ((values > 0).float() + 0.5 * (values == 0).float()).mean().item()


def _trainable(model: Policy | RewardModel) -> list[torch.nn.Parameter]:
    return list(model.parameters.values())
