"""The fixed evaluator: the same prompts, decoding and random seeds for every method of a (task, model, seed)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.core.errors import BenchmarkError, RunError
from benchmark.core.files import write_json
from benchmark.lm.adapted import Tensors
from benchmark.lm.policy import Policy
from benchmark.lm.reward import RewardModel
from benchmark.lm.sequences import Sequences
from benchmark.run.judge import GoldJudge, Judge
from benchmark.run.metrics import compute
from benchmark.run.prepared import Prepared

Metrics = dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one split, and the completions they come from (texts and r₀ scores, in prompt order)."""

    metrics: Metrics
    completions: list[str]
    rewards: list[float]


class Evaluator:
    """Evaluates a policy on a fixed set of prompts.

    Args:
        prepared: the shared preparation (prompts, references, judge).
        initial_reward: trainable state of r₀, the yardstick of every curve.
        baseline: π₀'s evaluation per split; None only while that itself is made.
    """

    def __init__(self, prepared: Prepared, initial_reward: Tensors, seed: int,
                 baseline: dict[str, Evaluation] | None = None):
        config = prepared.config
        self.prepared, self.initial_reward, self.seed, self.baseline = prepared, initial_reward, seed, baseline
        self.judge: Judge = prepared.judge()
        counts = {"validation": config.evaluation.validation_prompts, "test": config.evaluation.test_prompts}
        self.rows = {split: prepared.data.prompts[split][:count] for split, count in counts.items()}

    def evaluate(self, policy: Policy, reward: RewardModel, split: str) -> Evaluation:
        """Sample one completion per prompt of ``split`` and measure it (``METRICS`` of ``benchmark.core.records``)."""
        rows, decoding = self.rows[split], self.prepared.config.decoding
        encoder, bodies = policy.encoder, [row.text for row in rows]
        sequences, _ = policy.generate([encoder.prompt(body) for body in bodies], decoding.temperature,
                                       "evaluation", self.seed, split)
        texts = encoder.texts(sequences)
        current = reward.score_chunked(sequences)
        state = reward.state()
        reward.load_state(self.initial_reward)
        scores = reward.score_chunked(sequences)
        reward.load_state(state)
        lengths = sequences.completion_mask.sum(1)
        ended = ((sequences.completion_ids == encoder.eos) & sequences.completion_mask.bool()).any(1)
        metrics = {"reward": scores.mean().item(), "current_reward": current.mean().item()}
        if isinstance(self.judge, GoldJudge):
            metrics["gold"] = sum(map(self.judge.score, bodies, texts)) / len(texts)
        if self.baseline is None:
            metrics["win_rate"] = 0.5
        else:
            wins = self.prefer(bodies, texts, self.baseline[split].completions)
            metrics["win_rate"] = sum(wins) / len(wins)
        metrics |= {"kl": kl_to_reference(policy, sequences, decoding.temperature),
                    "length": lengths.float().mean().item(), "ended": ended.float().mean().item()}
        for name in self.prepared.adapter.metrics:
            metrics[name] = compute(name, texts, [row.reference for row in rows])
        return Evaluation(metrics, texts, scores.tolist())

    def prefer(self, bodies: list[str], first: list[str], second: list[str]) -> list[float]:
        """The judge's P(first preferred) for each prompt.

        Raises:
            RunError: the judge failed, however it did.
        """
        try:
            return self.judge.prefer(bodies, first, second)
        except (BenchmarkError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise RunError(f"the judge ({type(self.judge).__name__}) failed: {type(error).__name__}: {error}. Repair "
                           f"it; the same command goes on from the last checkpoint.") from error


@torch.no_grad()
def kl_to_reference(policy: Policy, sequences: Sequences, temperature: float) -> float:
    """Mean over completions of KL(π ‖ π₀) in nats, both at ``temperature``.

    The exact divergence of the next-token distributions, summed over each completion's positions: the expectation of
    the usual log-ratio estimate over the sampled token (Rao–Blackwell), so never negative and far less noisy.
    """
    total = 0.0
    for _, part in sequences.cut(policy.batch):
        with policy.merged():
            ours = (policy.logits(part).float() / temperature).log_softmax(2)
        with policy.reference():
            theirs = (policy.logits(part).float() / temperature).log_softmax(2)
        divergence = (ours.exp() * (ours - theirs)).sum(2)
        total += (divergence * part.completion_mask).sum().item()
    return total / len(sequences)


def save_baseline(path: Path, evaluations: dict[str, Evaluation]) -> None:
    write_json(path, {split: vars(evaluation) for split, evaluation in evaluations.items()})


def load_baseline(path: Path) -> dict[str, Evaluation]:
    """π₀'s evaluation per split, as :func:`save_baseline` wrote it."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {split: Evaluation(**value) for split, value in values.items()}
