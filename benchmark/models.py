"""Policy and reward model: every forward pass of the suite goes through here and is charged here.

Both are a frozen base with a LoRA adapter (peft) on the same modules, so that their updates have the same names and
shapes. The reference policy is the policy with its adapter switched off.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from benchmark.budget import Meter
from benchmark.config import Adapter
from benchmark.encoding import Encoder, Sequences
from benchmark.errors import RunError
from benchmark.seeding import global_seed

State = dict[str, torch.Tensor]


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (B, L) that ignore left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def linear_modules(model: nn.Module) -> list[str]:
    """Names (last component) of the linear layers of the backbone: peft's all-linear, the same for every head."""
    return sorted({name.rsplit(".", 1)[-1] for name, module in model.base_model.named_modules()
                   if isinstance(module, nn.Linear)})


def add_adapter(model: nn.Module, adapter: Adapter, dropout: float, *seed: object) -> nn.Module:
    """Return ``model`` wrapped by peft with one trainable float32 LoRA adapter (B = 0, so outputs do not change)."""
    from peft import LoraConfig, get_peft_model

    modules = linear_modules(model) if adapter.target_modules == "all-linear" else adapter.target_modules.split(",")
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=dropout, target_modules=modules)
    with global_seed("lora", *seed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)  # peft asks the old name
        return get_peft_model(model, config)


class Adapted:
    """What policy, reward model and critic share: a peft model, its trainable tensors, and its cost."""

    def __init__(self, model: nn.Module, encoder: Encoder, meter: Meter, batch: int, share: float = 1.0):
        self.model, self.encoder, self.meter, self.batch, self.share = model, encoder, meter, batch, share
        self.device = next(model.parameters()).device
        self.parameters = {_short(name): p for name, p in model.named_parameters() if p.requires_grad}
        total = sum(p.numel() for p in model.parameters())
        self.trained = sum(p.numel() for p in self.parameters.values()) / total
        model.eval()

    def state(self) -> State:
        """A copy of the trainable tensors on the CPU, by name (the head of a reward model included)."""
        return {name: p.detach().cpu().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Put ``state`` into the trainable tensors; names must match exactly."""
        if state.keys() != self.parameters.keys():
            raise ValueError(f"adapter names differ: {sorted(state.keys() ^ self.parameters.keys())[:3]} …")
        for name, parameter in self.parameters.items():
            parameter.copy_(state[name])

    def _charge(self, sequences: Sequences) -> None:
        tokens = int(sequences.mask.sum())
        self.meter.forward(tokens, self.share)
        if torch.is_grad_enabled():
            self.meter.backward(tokens, self.trained, self.share)


def _short(name: str) -> str:
    """Parameter names without peft's wrappers: the same for policy and reward model."""
    return name.removeprefix("base_model.model.").replace(".default.", ".").replace("modules_to_save.", "")


class Policy(Adapted):
    """π: a causal language model with a LoRA adapter."""

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """π₀ inside the block: the adapter is off."""
        with self.model.disable_adapter():
            yield

    def logits(self, sequences: Sequences) -> torch.Tensor:
        """Logits (B, R, V) that predict the completion's tokens; only those positions are computed."""
        self._charge(sequences)
        length = sequences.ids.shape[1] - sequences.prompt_length
        output = self.model(input_ids=sequences.ids, attention_mask=sequences.mask,
                            position_ids=positions(sequences.mask), use_cache=False, logits_to_keep=length + 1)
        return output.logits[:, :-1]

    def logprobs(self, sequences: Sequences, temperature: float = 1.0) -> torch.Tensor:
        """Log-probabilities (B, R) of the completion's tokens at ``temperature``, 0 on padding, float32."""
        logits = self.logits(sequences).float() / temperature
        chosen = logits.gather(2, sequences.completion_ids.unsqueeze(2)).squeeze(2)
        return (chosen - logits.logsumexp(2)) * sequences.completion_mask

    @torch.no_grad()
    def logprobs_chunked(self, sequences: Sequences, temperature: float = 1.0) -> torch.Tensor:
        """:meth:`logprobs` without gradient, ``batch`` rows at a time, trimmed to each chunk's own length."""
        return torch.cat([self._padded(sequences, rows, temperature) for rows in chunks(len(sequences), self.batch)])

    def _padded(self, sequences: Sequences, rows: slice, temperature: float) -> torch.Tensor:
        values = self.logprobs(sequences.select(rows), temperature)
        return nn.functional.pad(values, (0, sequences.completion_ids.shape[1] - values.shape[1]))

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], temperature: float, *seed: object) -> tuple[Sequences, torch.Tensor]:
        """Sample one completion per prompt.

        Args:
            prompts: token ids of B prompts.
            temperature: of the softmax; no top-k, no top-p.
            seed: names of the random stream.

        Returns:
            The sequences, and the log-probabilities (B, R) of the sampled tokens at ``temperature``, taken from the
            generation itself (float32; they differ from a teacher-forced forward by rounding only).
        """
        parts, logprobs = [], []
        for index, rows in enumerate(chunks(len(prompts), self.batch)):
            part, values = self._generate(prompts[rows], temperature, *seed, index)
            parts.append(part)
            logprobs.append(values)
        return join(parts, self.encoder.pad), _pad_stack(logprobs, 0.0)

    def _generate(self, prompts: list[list[int]], temperature: float, *seed: object) -> tuple[Sequences, torch.Tensor]:
        encoder = self.encoder
        start = encoder.pad_rows(prompts, [[] for _ in prompts], self.device)
        width = start.prompt_length
        try:
            with global_seed(*seed):
                output = self.model.generate(
                    input_ids=start.ids[:, :width], attention_mask=start.mask[:, :width], do_sample=True,
                    temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=encoder.decoding.max_new_tokens,
                    eos_token_id=encoder.eos, pad_token_id=encoder.pad, output_scores=True,
                    return_dict_in_generate=True,
                )
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            raise RunError("diverged: the policy's probabilities are not finite. Lower the learning rate.") from None
        new = output.sequences[:, width:]
        ended_before = (new == encoder.eos).cumsum(1) - (new == encoder.eos).long() > 0
        mask = (~ended_before).long()
        logprobs = torch.stack(
            [score.float().log_softmax(1).gather(1, new[:, i : i + 1]).squeeze(1) for i, score in
             enumerate(output.scores)], 1)
        sequences = Sequences(output.sequences, torch.cat([start.mask[:, :width], mask], 1), width)
        self.meter.forward(int(sequences.mask.sum()), self.share)
        return sequences, logprobs * mask


class RewardModel(Adapted):
    """r: the backbone with a scalar head, read at the last token of the completion (also PPO's critic)."""

    def values(self, sequences: Sequences) -> torch.Tensor:
        """The head's output (B, L), float32, at every position."""
        self._charge(sequences)
        inner = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
        hidden = inner.base_model(input_ids=sequences.ids, attention_mask=sequences.mask,
                                  position_ids=positions(sequences.mask), use_cache=False).last_hidden_state
        return inner.score(hidden.to(inner.score.weight.dtype)).squeeze(2).float()

    def score(self, sequences: Sequences) -> torch.Tensor:
        """Reward (B,) of each row, differentiable."""
        columns = torch.arange(sequences.mask.shape[1], device=self.device)
        last = (columns * sequences.mask).argmax(1)
        return self.values(sequences).gather(1, last.unsqueeze(1)).squeeze(1)

    @torch.no_grad()
    def score_chunked(self, sequences: Sequences) -> torch.Tensor:
        """:meth:`score` without gradient, ``batch`` rows at a time."""
        return torch.cat([self.score(sequences.select(rows)) for rows in chunks(len(sequences), self.batch)])


def chunks(length: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``range(length)``."""
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


def _pad_stack(tensors: list[torch.Tensor], value: float) -> torch.Tensor:
    """Concatenate (b, r) tensors along rows, padded on the right to the longest r."""
    width = max(t.shape[1] for t in tensors)
    return torch.cat([nn.functional.pad(t, (0, width - t.shape[1]), value=value) for t in tensors])


def join(parts: list[Sequences], pad: int) -> Sequences:
    """Stack sequences of different prompt and completion widths."""
    width = max(p.prompt_length for p in parts)

    def widen(tensor: torch.Tensor, part: Sequences, value: int) -> torch.Tensor:
        return nn.functional.pad(tensor, (width - part.prompt_length, 0), value=value)

    return Sequences(_pad_stack([widen(p.ids, p, pad) for p in parts], pad),
                     _pad_stack([widen(p.mask, p, 0) for p in parts], 0), width)
