"""The fixed evaluator: the same prompts, decoding and random seeds for every method of a (task, model, seed).

π₀'s own completions are sampled and scored once, in the preparation. As long as a policy is close enough to π₀ it is
measured on them, each weighted by π/π₀: a change of the policy then shows as it is, however small. A policy that has
gone further is measured on completions of its own, paired with π₀'s prompt by prompt.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from benchmark.core.errors import BenchmarkError, RunError
from benchmark.core.files import write_json
from benchmark.core.records import Metrics
from benchmark.core.sections import EvaluationSettings
from benchmark.lm.adapted import Tensors
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import Sequences
from benchmark.run.estimates import effective_share, paired_increases, standard_error, weighted_increases
from benchmark.run.judge import GoldJudge, Judge
from benchmark.run.metrics import compute
from benchmark.run.prepared import Prepared
from tasks.examples import Prompt

KEPT_TOKENS = 65_536  # of π₀'s completions with their prompts, up to which what the models say of them is kept
LEAST_SHARE = 0.5  # effective share of π₀'s completions from which on they measure a policy
WITH_ERROR = ("reward", "gold", "win_rate")  # metrics with the standard error of their increase beside them
Values = dict[str, torch.Tensor]  # metric → (N, n) float64, one value a completion


@dataclass(frozen=True)
class Start:
    """π₀'s own completions of one split, n a prompt (those of one prompt consecutive, B = N · n), and what they score.

    Attributes:
        metrics: of π₀, the point from which every curve starts.
        tokens, texts: (B) completions.
        values: metric → (B) its value for each. Of ``win_rate``: the judge's mean preference for it over all of the
            prompt's completions, itself a half.
    """

    metrics: Metrics
    tokens: list[list[int]]
    texts: list[str]
    values: dict[str, list[float]]


class Evaluator:
    """Evaluates a policy on a fixed set of prompts.

    Args:
        prepared: the shared preparation (prompts, references, judge).
        initial_reward: trainable state of r₀, the yardstick of every curve.
        starts: π₀'s completions per split; None only while they are made.
    """

    def __init__(self, prepared: Prepared, initial_reward: Tensors, seed: int, starts: dict[str, Start] | None = None):
        config, encoder = prepared.config.evaluation, prepared.encoder
        self.prepared, self.initial_reward, self.seed, self.starts = prepared, initial_reward, seed, starts or {}
        self.temperature = prepared.config.decoding.temperature
        self.judge: Judge = prepared.judge()
        self.copies = {"validation": config.validation_completions, "test": config.test_completions}
        self.rows = evaluated(prepared.data.prompts, config)
        self.prompts = {split: [encoder.prompt(row.text) for row in rows] for split, rows in self.rows.items()}
        self._kept: dict[str, Sequences] = {}  # π₀'s completions, as the models read them

    def start(self, policy: Policy, reward: RewardModel, split: str) -> Start:
        """Sample and score π₀'s completions; ``policy`` and ``reward`` are π₀ and r₀."""
        sequences, texts = self._sample(policy, split)
        values = self._values(sequences, texts, reward, split)
        values["win_rate"] = self._wins(texts, split)
        metrics = {name: value.mean().item() for name, value in values.items()}
        metrics |= {"current_reward": metrics["reward"], "win_rate": 0.5, "kl": 0.0, "ess": 1.0}
        metrics |= {f"{name}_se": 0.0 for name in WITH_ERROR if name in values}
        metrics |= self._task_metrics(texts, split, torch.ones(len(texts)))
        tokens = [ids[mask.bool()].tolist() for ids, mask in zip(
            sequences.completion_ids.cpu(), sequences.completion_mask.cpu(), strict=True)]
        return Start(metrics, tokens, texts, {name: value.flatten().tolist() for name, value in values.items()})

    def evaluate(self, policy: Policy, reward: RewardModel, split: str) -> Metrics:
        """Measure ``policy`` on ``split`` (``METRICS`` of ``benchmark.core.records``).

        ``ess`` is the effective share of π₀'s completions: from :data:`LEAST_SHARE` on, the other metrics are taken
        from them. With one completion a prompt they never are.
        """
        start, n = self.starts[split], self.copies[split]
        base = {name: torch.tensor(value, dtype=torch.float64).view(-1, n) for name, value in start.values.items()}
        sequences, texts = self._start_sequences(split), start.texts
        logs, divergence = compare(policy, sequences, self.temperature)
        ratios = logs.exp()  # (B, 1 + R): π/π₀ of what comes before each token, and of the whole
        share = effective_share(logs[:, -1]) if n > 1 else 0.0
        with rereading(reward):
            if share >= LEAST_SHARE:  # not where it is NaN: sampling says what is wrong
                kl = (divergence * ratios[:, :-1]).sum(1).mean().item()
                weights = ratios[:, -1]
                current = self._scores(sequences, reward, split)
                increases = {name: weighted_increases(weights.view(-1, n), value) for name, value in base.items()}
                moved = current.mean() + weighted_increases(weights.view(-1, n), current).mean()
            else:
                sequences, texts = self._sample(policy, split)
                sequences = sequences.kept()
                kl = compare(policy, sequences, self.temperature)[1].sum(1).mean().item()
                weights = torch.ones(len(texts), dtype=torch.float64)
                values = self._values(sequences, texts, reward, split)
                wins = self.prefer(self._bodies(split), texts, start.texts)
                values["win_rate"] = torch.tensor(wins, dtype=torch.float64).view(-1, n)
                increases = {name: paired_increases(value, base[name]) for name, value in values.items()}
                moved = self._scores(sequences, reward, split).mean()
        metrics = {name: start.metrics[name] + increase.mean().item() for name, increase in increases.items()}
        metrics |= {f"{name}_se": standard_error(increases[name]) for name in WITH_ERROR if name in increases}
        return metrics | self._task_metrics(texts, split, weights) | {
            "current_reward": moved.item(), "kl": kl, "ess": share}

    def examples(self, policy: Policy, reward: RewardModel, count: int) -> list[tuple[str, float]]:
        """A completion of ``policy`` for each of the first ``count`` test prompts, with its r₀ score."""
        if not count:
            return []
        sequences, texts = self._sample(policy, "test", count)
        with self._initial(reward):
            scores = reward.score_chunked(sequences).tolist()
        return list(zip(texts, scores, strict=True))[:: self.copies["test"]]

    def _sample(self, policy: Policy, split: str, count: int | None = None) -> tuple[Sequences, list[str]]:
        sequences, _ = policy.generate(self.prompts[split][:count], self.temperature, "evaluation", self.seed, split,
                                       copies=self.copies[split])
        return sequences, policy.encoder.texts(sequences)

    def _sequences(self, split: str, tokens: list[list[int]]) -> Sequences:
        prompts = [prompt for prompt in self.prompts[split] for _ in range(self.copies[split])]
        return self.prepared.encoder.pad_rows(prompts, tokens, self.prepared.device)

    def _start_sequences(self, split: str) -> Sequences:
        if split not in self._kept:
            sequences = self._sequences(split, self.starts[split].tokens)
            self._kept[split] = sequences.kept() if sequences.ids.numel() <= KEPT_TOKENS else sequences
        return self._kept[split]

    def _scores(self, sequences: Sequences, reward: RewardModel, split: str) -> torch.Tensor:
        return reward.score_chunked(sequences).double().cpu().view(-1, self.copies[split])

    def _values(self, sequences: Sequences, texts: list[str], reward: RewardModel, split: str) -> Values:
        """What each completion scores by itself."""
        mask = sequences.completion_mask
        ended = ((sequences.completion_ids == self.prepared.encoder.eos) & mask.bool()).any(1)
        values = {"length": mask.sum(1), "ended": ended}
        with self._initial(reward):
            values["reward"] = self._scores(sequences, reward, split)
        if isinstance(self.judge, GoldJudge):
            values["gold"] = torch.tensor(list(map(self.judge.score, self._bodies(split), texts)), dtype=torch.float64)
        return {name: value.double().cpu().view(-1, self.copies[split]) for name, value in values.items()}

    def _wins(self, texts: list[str], split: str) -> torch.Tensor:
        """(N, n): the judge's mean preference for each completion over all of the prompt's, itself a half.

        With itself in, it is to :func:`weighted_increases` as any score is: taking off the mean over all n, where that
        over the others is meant, makes both too small by the same factor.
        """
        n = self.copies[split]
        wins = torch.full((len(texts) // n, n, n), 0.5, dtype=torch.float64)
        bodies = self._bodies(split)[::n]
        for first, second in combinations(range(n), 2):  # the judge's answer does not depend on the order
            found = torch.tensor(self.prefer(bodies, texts[first::n], texts[second::n]), dtype=torch.float64)
            wins[:, first, second], wins[:, second, first] = found, 1 - found
        return wins.mean(2)

    def _task_metrics(self, texts: list[str], split: str, weights: torch.Tensor) -> Metrics:
        references = [row.reference for row in self.rows[split] for _ in range(self.copies[split])]
        return {name: compute(name, texts, references, weights.tolist()) for name in self.prepared.adapter.metrics}

    def _bodies(self, split: str) -> list[str]:
        return [row.text for row in self.rows[split] for _ in range(self.copies[split])]

    @contextlib.contextmanager
    def _initial(self, reward: RewardModel) -> Iterator[None]:
        """Inside, ``reward`` is r₀."""
        state = reward.state()
        reward.load_state(self.initial_reward)
        try:
            yield
        finally:
            reward.load_state(state)

    def prefer(self, bodies: list[str], first: list[str], second: list[str]) -> list[float]:
        """The judge's P(first preferred) for each prompt.

        Raises:
            RunError: the judge failed, however it did, or gave something else than probabilities.
        """
        try:
            answers = list(map(float, self.judge.prefer(bodies, first, second)))
            if len(answers) != len(bodies) or not all(0 <= answer <= 1 for answer in answers):
                raise ValueError(f"expected {len(bodies)} numbers between 0 and 1, not {str(answers)[:80]}")
            return answers
        except (BenchmarkError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise RunError(f"the judge ({type(self.judge).__name__}) failed: {type(error).__name__}: {error}. Repair "
                           f"it; the same command goes on from the last checkpoint.") from error


@torch.no_grad()
def compare(policy: Policy, sequences: Sequences, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """log(π/π₀) before each token of the completions and after the last (B, 1 + R), and KL(π ‖ π₀) of the next token's
    distribution at each (B, R), in nats, 0 on padding; both at ``temperature``, float64, on the CPU.

    The sum of the divergences over π's own completions has the expectation of their log-ratios (Rao–Blackwell over the
    sampled token), is never negative and far less noisy. Over π₀'s completions each weighs π/π₀ of what comes before.
    """
    shape = sequences.completion_ids.shape
    logs, divergences = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for rows, part in sequences.cut(policy.batch):
        part = part.kept()  # π₀ is the policy below the first trained parameter
        with policy.merged():
            ours = (policy.logits(part).float() / temperature).log_softmax(2)
        with policy.reference():
            theirs = (policy.logits(part).float() / temperature).log_softmax(2)
        ratios = ours - theirs
        width = ratios.shape[1]
        divergences[rows, :width] = ((ours.exp() * ratios).sum(2) * part.completion_mask).double().cpu()
        logs[rows, :width] = (ratios.gather(2, part.completion_ids.unsqueeze(2)).squeeze(2)
                              * part.completion_mask).double().cpu()
    return torch.nn.functional.pad(logs.cumsum(1), (1, 0)), divergences


@contextlib.contextmanager
def rereading(reward: RewardModel) -> Iterator[None]:
    """Inside, ``reward`` reads the same completions with more than one set of trained tensors."""
    before, reward.rereads = reward.rereads, True
    try:
        yield
    finally:
        reward.rereads = before


def evaluated(prompts: dict[str, list[Prompt]], settings: EvaluationSettings) -> dict[str, list[Prompt]]:
    """Those of ``prompts`` that a policy is evaluated on, by split."""
    counts = {"validation": settings.validation_prompts, "test": settings.test_prompts}
    return {split: prompts[split][: count or None] for split, count in counts.items()}


def save_starts(path: Path, starts: dict[str, Start]) -> None:
    write_json(path, {split: vars(start) for split, start in starts.items()})


def load_starts(path: Path) -> dict[str, Start]:
    """π₀'s completions per split, as :func:`save_starts` wrote them."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names = [field.name for field in fields(Start)]  # earlier ones held more
    return {split: Start(**{name: value[name] for name in names}) for split, value in values.items()}
