"""The reward model, and the critic: the backbone with a scalar head."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.lm.adapted import Adapted
from benchmark.lm.sequences import Sequences, chunks


class RewardModel(Adapted):
    """r: the backbone with a scalar head, read at the last token of the completion (also PPO's critic)."""

    rereads = False  # a completion is scored once; the critic says otherwise

    def values(self, sequences: Sequences) -> torch.Tensor:
        """The head's output (B, 1 + R), float32: at the prompt's last token and at each completion token."""
        self._charge(sequences)
        head = self.plain.score
        return head(self.hidden(sequences).to(head.weight.dtype)).squeeze(2).float()

    def score(self, sequences: Sequences) -> torch.Tensor:
        """Reward (B,) of each row, differentiable."""
        length = sequences.completion_mask.sum(1, keepdim=True)
        return self.values(sequences).gather(1, length).squeeze(1)

    @torch.no_grad()
    def features(self, rows: list[tuple[str, str]]) -> np.ndarray:
        """What the head reads (B, H), float64: the last hidden state at the last token of each (prompt, completion)."""
        found = []
        for part in chunks(len(rows), self.batch):
            sequences = self.encoder.rows(rows[part], self.device)
            self._charge(sequences)
            last = sequences.completion_mask.sum(1).view(-1, 1, 1)
            hidden = self.hidden(sequences)
            found.append(hidden.gather(1, last.expand(-1, 1, hidden.shape[2])).squeeze(1).double().cpu().numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def score_chunked(self, sequences: Sequences) -> torch.Tensor:
        """:meth:`score` without gradient, at most ``batch`` rows at a time."""
        with self.merged():
            return self._scored(sequences, lambda part: self.score(part).unsqueeze(1), 1).squeeze(1)

    @torch.no_grad()
    def values_chunked(self, sequences: Sequences) -> torch.Tensor:
        """:meth:`values` without gradient, ``batch`` rows at a time at most; meaningless beyond a completion's end."""
        with self.merged():
            return self._scored(sequences, self.values, sequences.completion_ids.shape[1] + 1)
