"""DPO on clean pairs, comparisons on noisy ones: the two stages of ComPO (Chen et al. 2025, arXiv 2505.05465)."""

from __future__ import annotations

from baselines import hyperparameters as hp
from baselines.objectives.dpo import DPO
from benchmark.core.errors import ConfigError
from benchmark.lm.rollout import Batch


class NoisyPairs(DPO):
    """A pair is noisy where π₀ tells its completions hardly apart: their log-probabilities differ by at most δ.

    The warm start takes the clean pairs in the task's order, whole batches of them; what follows the noisy ones, one an
    update, because a comparison is one of single pairs.
    """

    settings: hp.NoisyPairsSettings

    def collect(self) -> Batch:
        count, found, passed = max(1, self.context.sequences // 2) if self.warm else 1, list[int](), 0
        while len(found) < count:
            rows = self._order.take(count - len(found))
            self.batch_of(rows)  # notes what π₀ says of those that are new
            found += [row for row in rows if self.wanted(row)]
            passed += len(rows)
            if not found and passed >= len(self.context.pairs):
                kind, remedy = ("clean", "Lower") if self.warm else ("noisy", "Raise")
                raise ConfigError(f"none of the {len(self.context.pairs)} pairs is {kind}: margin = "
                                  f"{self.settings.margin}. {remedy} it.")
        return self.batch_of(found)

    def wanted(self, row: int) -> bool:
        """Whether a pair is of the present phase; one whose completions are the same is of none."""
        chosen, rejected = self._reference[row]
        apart = abs(chosen - rejected)
        return apart > self.settings.margin if self.warm else 0 < apart <= self.settings.margin
