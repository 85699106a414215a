"""Prompts → completions, masks, log-probabilities, rewards. One copy, used by every method."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from benchmark.core.seeding import ShuffledPasses, generator
from benchmark.lm.encoder import Encoder
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import Sequences, chunks, join


class PromptStream:
    """Training prompts in one order for all methods: shuffled passes, a new permutation each pass.

    Args:
        bodies: prompt bodies (text).
        seed: names of the random stream.
    """

    def __init__(self, bodies: list[str], encoder: Encoder, *seed: object):
        self.bodies, self._encoder, self._order = bodies, encoder, ShuffledPasses(len(bodies), *seed)

    def state(self) -> int:
        """Prompts taken so far."""
        return self._order.cursor

    def load_state(self, state: int) -> None:
        self._order.cursor = state

    def take(self, count: int) -> tuple[list[str], list[list[int]]]:
        """The next ``count`` prompts: bodies and token ids."""
        bodies = [self.bodies[index] for index in self._order.take(count)]
        return bodies, [self._encoder.prompt(body) for body in bodies]


@dataclass(frozen=True)
class Rollout:
    """n prompts × k completions; rows of one prompt are consecutive (B = n·k).

    Attributes:
        sequences: prompts and sampled completions.
        logprobs: (B, R) log-probabilities under the sampling policy at the decoding temperature, 0 on padding.
        reference: (B, R) the same under π₀.
        rewards: (B,) scores of the current reward model.
        k: completions per prompt.
    """

    sequences: Sequences
    logprobs: torch.Tensor
    reference: torch.Tensor
    rewards: torch.Tensor
    k: int


class Sampler:
    """Makes rollouts of a run: its own prompt order, its own random stream, counted by calls.

    Attributes:
        stop: text after whose first occurrence a completion ends; empty = none.
        missing_eos_penalty: taken off the reward of a completion that the length limit cut: neither EOS nor ``stop`` is
            in it.
    """

    stop, missing_eos_penalty = "", 0.0

    def __init__(self, policy: Policy, reward: RewardModel, prompts: PromptStream, temperature: float, *seed: object):
        self.policy, self.reward, self.prompts = policy, reward, prompts
        self.temperature, self._seed, self._calls = temperature, seed, 0

    def state(self) -> dict[str, int]:
        return {"prompts": self.prompts.state(), "calls": self._calls}

    def load_state(self, state: dict[str, int]) -> None:
        self.prompts.load_state(state["prompts"])
        self._calls = state["calls"]

    def rollout(self, sequences: int, k: int, reference_temperature: float | None = None) -> Rollout:
        """Sample ``sequences // k`` new prompts × k completions; see :meth:`at`."""
        batch = self.prompts_for(sequences, k)
        return self.at(batch.prompts, batch.seed, k, reference_temperature)

    def prompts_for(self, sequences: int, k: int) -> Prompts:
        """The next ``sequences // k`` prompts, with a random stream of their own."""
        _, prompts = self.prompts.take(max(1, sequences // k))
        self._calls += 1
        return Prompts(prompts, (*self._seed, self._calls - 1), k)

    def at(self, prompts: list[list[int]], seed: tuple[object, ...], k: int,
           reference_temperature: float | None = None) -> Rollout:
        """Sample k completions a prompt at the present parameters, score them and compare them with π₀.

        The same prompts and seed give the same draws at any parameters (common random numbers).

        Args:
            prompts: token ids.
            seed: names of the random stream.
            reference_temperature: temperature of ``reference``; None = the decoding temperature.
        """
        sampled, logprobs = self.policy.generate(prompts, self.temperature, *seed, copies=k)
        if self.stop:
            sampled = stopped(sampled, self.stop, self.policy.encoder)
            logprobs = logprobs * sampled.completion_mask
        sampled = sampled.kept()  # π₀ is the policy below the first trained parameter
        with self.policy.reference():
            reference = self.policy.logprobs_chunked(sampled, reference_temperature or self.temperature)
        rewards = self.reward.score_chunked(sampled)
        if self.missing_eos_penalty:
            rewards = rewards - self.missing_eos_penalty * endless(sampled, self.stop, self.policy.encoder)
        self.policy.meter.scored(len(sampled))
        return Rollout(sampled, logprobs, reference, rewards, k)


def _with_stop(ids: list[int], stop: str, encoder: Encoder) -> int | None:
    """How many of the tokens ``ids`` it takes until ``stop`` is in their text; None if it is not in all of it."""
    def there(count: int) -> bool:
        return stop in encoder.tokenizer.decode(ids[:count], skip_special_tokens=True)

    return bisect_left(range(len(ids) + 1), True, key=there) if there(len(ids)) else None


def _completions(sequences: Sequences) -> list[list[int]]:
    return [row[mask.bool()].tolist() for row, mask in zip(
        sequences.completion_ids.cpu(), sequences.completion_mask.cpu(), strict=True)]


def stopped(sequences: Sequences, stop: str, encoder: Encoder) -> Sequences:
    """``sequences`` with each completion cut after the token in which ``stop`` is first complete."""
    counts = [_with_stop(ids, stop, encoder) for ids in _completions(sequences)]
    device, prompt = sequences.ids.device, sequences.prompt_length
    width = sequences.completion_ids.shape[1]
    kept = torch.tensor([width if count is None else count for count in counts], device=device)
    gone = torch.arange(sequences.ids.shape[1], device=device) - prompt >= kept.unsqueeze(1)
    return Sequences(sequences.ids.masked_fill(gone, encoder.pad), sequences.mask.masked_fill(gone, 0), prompt)


def endless(sequences: Sequences, stop: str, encoder: Encoder) -> torch.Tensor:
    """1 for each completion (B,) in which neither EOS nor ``stop`` is, else 0."""
    found = [encoder.eos not in ids and not (stop and _with_stop(ids, stop, encoder) is not None)
             for ids in _completions(sequences)]
    return torch.tensor(found, dtype=torch.float32, device=sequences.ids.device)


@dataclass(frozen=True)
class Prompts:
    """A batch whose completions are sampled when its loss is read; never split, so that its draws stay as they are.

    Attributes:
        prompts: token ids. seed: names of the random stream. k: completions per prompt.
        info: figures for the log.
    """

    prompts: list[list[int]]
    seed: tuple[object, ...]
    k: int
    info: dict[str, float] = field(default_factory=dict)

    def split(self, size: int) -> list[Prompts]:
        return [self]

    def shuffled(self, *seed: object) -> Prompts:
        """Itself: other places would have other draws."""
        return self

    def __len__(self) -> int:
        return len(self.prompts) * self.k


@dataclass(frozen=True)
class Batch:
    """What one update learns from. Objectives make it and read it.

    Attributes:
        parts: one :class:`Sequences` of B rows (completions), or two (chosen and rejected).
        values: per-row tensors, first dimension B.
        rows, tokens: totals of the whole batch, by which micro-batch losses are normalised, so that they add up to the
            loss of the whole batch however it is split.
        info: figures for the log.
    """

    parts: tuple[Sequences, ...]
    values: dict[str, torch.Tensor]
    rows: int
    tokens: int
    info: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(parts: tuple[Sequences, ...], values: dict[str, torch.Tensor], **info: float) -> Batch:
        return Batch(tuple(part.kept() for part in parts), values, len(parts[0]),
                     sum(int(p.completion_mask.sum()) for p in parts), info)

    @cached_property
    def whole(self) -> Sequences:
        """All rows as one: those of the first part, then those of the second."""
        return self.parts[0] if len(self.parts) == 1 else join(list(self.parts)).kept()

    @cached_property
    def _splits(self) -> dict[int, list[Batch]]:
        return {}

    def split(self, size: int) -> list[Batch]:
        """Micro-batches of at most ``size`` rows, the same ones each time."""
        if len(self) <= size:
            return [self]
        if size not in self._splits:
            self._splits[size] = [
                replace(self, parts=tuple(p.select(rows, trim=False).kept() for p in self.parts),
                        values={name: value[rows] for name, value in self.values.items()})
                for rows in chunks(len(self), size)]
        return self._splits[size]

    @cached_property
    def apart(self) -> Batch:
        """The same rows, each to be read by itself."""
        return replace(self, parts=tuple(replace(part, known={}, apart=True) for part in self.parts))

    def shuffled(self, *seed: object) -> Batch:
        """The same rows in an order drawn from the stream ``seed``."""
        order = torch.randperm(len(self), generator=generator(*seed)).to(self.parts[0].ids.device)
        return replace(self, parts=tuple(part.select(order, trim=False) for part in self.parts),
                       values={name: value[order] for name, value in self.values.items()})

    def __len__(self) -> int:
        return len(self.parts[0])


AnyBatch = Batch | Prompts
