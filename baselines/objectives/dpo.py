"""DPO: direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) on the task's own pairs."""

from __future__ import annotations

import torch

from baselines import hyperparameters as hp
from baselines.contract import Context, Objective
from baselines.objectives.preference_losses import preference_loss
from benchmark.core.checkpoint import Saved
from benchmark.core.seeding import ShuffledPasses
from benchmark.lm.policy import Policy
from benchmark.lm.rollout import Batch
from benchmark.lm.sequences import Sequences, join


def pair_logprobs(policy: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (B,) of the chosen and of the rejected completions."""
    chosen, rejected = policy.logprobs(batch.whole).sum(1).chunk(2)
    return chosen, rejected


def pair_losses(policy: Policy, batch: Batch, settings: hp.DPOSettings | hp.OnlineDPOSettings) -> torch.Tensor:
    """Preference losses (n,) of (chosen, rejected) pairs whose reference log-probabilities are in the batch.

    Log-probabilities are those of the model itself (temperature 1), as in every DPO implementation.
    """
    chosen, rejected = pair_logprobs(policy, batch)
    first, second = batch.parts
    lengths = first.completion_mask.sum(1), second.completion_mask.sum(1)
    return preference_loss(settings.loss, chosen - batch.values["reference_chosen"],
                           rejected - batch.values["reference_rejected"], settings.beta, settings.label_smoothing,
                           lengths)


class DPO(Objective):
    """Offline: shuffled passes over the training pairs. Reference log-probabilities are computed once per pair, when
    it first appears, and charged to the method."""

    rollout_passes = 1  # π₀'s

    def __init__(self, context: Context, settings: hp.DPOSettings):
        super().__init__(context, settings)
        self._reference: dict[int, tuple[float, float]] = {}
        self._order = ShuffledPasses(len(context.pairs), "pairs", context.seed)

    @property
    def pairs_read(self) -> int:
        return self._order.cursor

    def collect(self) -> Batch:
        return self.batch_of(self._order.take(max(1, self.context.sequences // 2)))

    def batch_of(self, rows: list[int]) -> Batch:
        """These of the training pairs."""
        policy, pairs = self.context.policy, [self.context.pairs[row] for row in rows]
        parts = tuple(policy.encoder.rows([(pair[0], pair[side]) for pair in pairs], policy.device) for side in (1, 2))
        self._note_reference(rows, join(list(parts)))
        references = torch.tensor([self._reference[row] for row in rows], device=policy.device)
        return Batch.of(parts, {"reference_chosen": references[:, 0], "reference_rejected": references[:, 1]})

    def _note_reference(self, rows: list[int], both: Sequences) -> None:
        """Reference log-probabilities of the pairs among ``rows`` that are new; ``both``: all chosen, all rejected."""
        new = [place for place, row in enumerate(rows) if row not in self._reference]
        if not new:
            return
        if len(new) < len(rows):
            both = both.select(torch.tensor(new + [len(rows) + place for place in new], device=both.ids.device))
        policy = self.context.policy
        with policy.reference():
            values = policy.logprobs_chunked(both).sum(1).chunk(2)
        self._reference |= dict(zip([rows[place] for place in new],
                                    zip(*(v.tolist() for v in values), strict=True), strict=True))

    def state(self) -> Saved:
        """Where the passes stand, and the reference log-probabilities: a row of chosen and rejected for each pair."""
        return {"pairs": self._order.cursor, "known": torch.tensor(list(self._reference), dtype=torch.int64),
                "reference": torch.tensor(list(self._reference.values()), dtype=torch.float64).view(-1, 2)}

    def load_state(self, state: Saved) -> None:
        self._order.cursor = state["pairs"]
        self._reference = dict(zip(state["known"].tolist(), map(tuple, state["reference"].tolist()), strict=True))

    def examples(self, batch: Batch) -> torch.Tensor:
        return pair_losses(self.context.policy, batch, self.settings)

    def compared(self, batch: Batch) -> torch.Tensor:
        """Log-probabilities (B, 2) of chosen and rejected."""
        return torch.stack(pair_logprobs(self.context.policy, batch), 1)
