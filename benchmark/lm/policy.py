"""The policy: a causal language model whose log-probabilities and samples are all taken here."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from benchmark.core.errors import RunError
from benchmark.core.seeding import generator
from benchmark.lm.adapted import Adapted, positions, same
from benchmark.lm.generation import sample
from benchmark.lm.sequences import Sequences, _pad_stack, chunks, evaluating, join

LOGIT_FIELDS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
HEAD_ENTRIES = 2_000_000  # logits made at a time where no gradient is needed (8 MiB: they stay in the cache)


class Policy(Adapted):
    """π: a causal language model, trained in LoRA factors or in tensors of its own.

    Args:
        keep_start: what it is now is π₀. Of tensors of its own a copy is kept; LoRA layers can be switched off.
    """

    def __init__(self, *args: Any, keep_start: bool = False):
        super().__init__(*args)
        if keep_start and not self._adapters:
            trained = {id(p): nn.Parameter(p.detach().clone(), requires_grad=False) for p in self.parameters.values()}
            self._base = [(module, name, trained[id(p)]) for module in self.model.modules()
                          for name, p in module.named_parameters(recurse=False) if id(p) in trained]

    def reference(self) -> AbstractContextManager[None]:
        """π₀ inside the block. The trained tensors are put aside and not written to, so that no bit is lost and no
        perturbation of them reaches π₀."""
        if not self._base:
            raise RuntimeError("this policy was made without keep_start: there is no π₀ to go back to.")
        return self.without_adapter()

    def logits(self, sequences: Sequences) -> torch.Tensor:
        """Logits (B, R, V) that predict the completion's tokens; only those positions are computed."""
        self._charge(sequences)
        if not self._head_is_plain(sequences):
            self._compute(sequences, None, 1.0)
            return self._logits(sequences)
        return self.plain.get_output_embeddings()(self.hidden(sequences)[:, :-1])

    def _logits(self, sequences: Sequences) -> torch.Tensor:
        length = sequences.ids.shape[1] - sequences.prompt_length
        output = self.model(input_ids=sequences.ids, attention_mask=sequences.mask,
                            position_ids=positions(sequences.mask), use_cache=False, logits_to_keep=length + 1)
        return output.logits[:, :-1]

    def logprobs(self, sequences: Sequences, temperature: float = 1.0) -> torch.Tensor:
        """Log-probabilities (B, R) of the completion's tokens at ``temperature``, 0 on padding, float32.

        Without gradient the logits of a few rows at a time are made and reduced, so that (B, R, V) never exists.
        """
        self._charge(sequences)
        if not self._head_is_plain(sequences):
            self._compute(sequences, None, 1.0)
            values = token_logprobs(self._logits(sequences), sequences.completion_ids, temperature)
        else:
            hidden = self.hidden(sequences)[:, :-1]
            head = self.plain.get_output_embeddings()
            size = max(1, HEAD_ENTRIES // (hidden.shape[1] * head.weight.shape[0]))
            size = len(hidden) if torch.is_grad_enabled() else size
            values = torch.cat([token_logprobs(head(hidden[rows]), sequences.completion_ids[rows], temperature)
                                for rows in chunks(len(hidden), size)])
        return values * sequences.completion_mask

    @torch.no_grad()
    def _head_is_plain(self, sequences: Sequences) -> bool:
        """Some models scale or cap their logits: as their configuration says, and seen once, on one row."""
        if "plain_head" not in self.found:
            row = sequences.select(slice(0, 1))
            with evaluating(self.model):
                ours = self.plain.get_output_embeddings()(self.hidden(row)[:, :-1])
                theirs = self._logits(row)
            said = [getattr(self.plain.config, name, None) for name in LOGIT_FIELDS]
            self.found["plain_head"] = all(value in (None, 1) for value in said) and same(ours, theirs)
        return self.found["plain_head"]

    @torch.no_grad()
    def logprobs_chunked(self, sequences: Sequences, temperature: float = 1.0) -> torch.Tensor:
        """:meth:`logprobs` without gradient, at most ``batch`` rows at a time."""
        return self._scored(sequences, lambda part: self.logprobs(part, temperature), sequences.completion_ids.shape[1])

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], temperature: float, *seed: object, copies: int = 1
                 ) -> tuple[Sequences, torch.Tensor]:
        """Sample completions.

        Args:
            prompts: token ids of N prompts.
            temperature: of the softmax; no top-k, no top-p.
            seed: names of the random stream.
            copies: completions per prompt; the B = N · copies rows of one prompt are consecutive.

        Returns:
            The sequences, and the log-probabilities (B, R) of the sampled tokens at ``temperature``, taken from the
            generation itself (float32; they differ from a teacher-forced forward by rounding only).

        Raises:
            RunError: the policy's probabilities are not finite.
        """
        encoder, device = self.encoder, self.device
        shape = (len(prompts) * copies, encoder.decoding.max_new_tokens)
        uniforms = torch.rand(shape, generator=generator(*seed)).to(device)
        parts, logprobs = [], []
        with self.merged():
            for rows in chunks(len(prompts), max(1, self.batch // copies)):
                start = encoder.pad_rows(prompts[rows], [[] for _ in prompts[rows]], device)
                width = start.prompt_length
                ids, mask = start.ids[:, :width], start.mask[:, :width]
                draws = uniforms[rows.start * copies : rows.stop * copies]
                new, values = sample(self.plain, ids, mask, copies, draws, temperature, encoder.eos, encoder.pad)
                if not values.isfinite().all():
                    raise RunError("diverged: the policy's probabilities are not finite. Lower the learning rate.")
                after = (new == encoder.eos).cumsum(1) - (new == encoder.eos).long()  # EOS tokens before each token
                whole, seen = (torch.cat([start_part.repeat_interleave(copies, 0), new_part], 1)
                               for start_part, new_part in ((ids, new), (mask, (after == 0).long())))
                parts.append(Sequences(whole, seen, width))
                self.meter.forward(int(seen.sum()), self.share)
                self.meter.generated(int(seen[:, width:].sum()))
                self.meter.computed(int(mask.sum() + seen[:, width:].sum()) * self.share)
                logprobs.append(values)
        return join(parts, encoder.pad), _pad_stack(logprobs, 0.0)


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities (B, R), float32, of ``ids`` (B, R) under ``logits`` (B, R, V) at ``temperature``."""
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    return -nn.functional.cross_entropy(scaled.transpose(1, 2), ids, reduction="none")
