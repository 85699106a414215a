"""Policy and reward model: every forward pass of the suite goes through here and is charged here.

Both are a frozen base with a LoRA adapter (peft) on the same modules, so that their updates have the same names and
shapes. The reference policy is the policy with its adapter switched off.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmark.budget import Meter
from benchmark.config import Adapter
from benchmark.encoding import Encoder, Sequences
from benchmark.errors import RunError
from benchmark.generation import heeds_masks, sample
from benchmark.packing import Packed, evaluating
from benchmark.seeding import generator, global_seed

State = dict[str, torch.Tensor]

MERGED_ENTRIES = 16_000_000  # of base weights that an adapter is merged into a copy of, at most (64 MiB)
HEAD_ENTRIES = 2_000_000  # logits made at a time where no gradient is needed (8 MiB: they stay in the cache)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (B, L) that ignore left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def linear_modules(model: nn.Module) -> list[str]:
    """Names (last component) of the linear layers of the backbone: peft's all-linear, the same for every head."""
    return sorted({name.rsplit(".", 1)[-1] for name, module in model.base_model.named_modules()
                   if isinstance(module, nn.Linear)})


def add_adapter(model: nn.Module, adapter: Adapter, dropout: float, *seed: object) -> nn.Module:
    """Return ``model`` wrapped by peft with one trainable float32 LoRA adapter (B = 0, so outputs do not change); with
    rank 0 the model itself, all of its parameters trained."""
    from peft import LoraConfig, get_peft_model

    if not adapter.rank:
        return model.requires_grad_(True)
    modules = linear_modules(model) if adapter.target_modules == "all-linear" else adapter.target_modules.split(",")
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=dropout, target_modules=modules)
    with global_seed("lora", *seed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)  # peft asks the old name
        return get_peft_model(model, config)


def adapted_layers(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Every LoRA layer of ``model`` with the module that holds it and its name there."""
    from peft.tuners.lora import LoraLayer

    return [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()
            if isinstance(child, LoraLayer)]


class Adapted:
    """What policy, reward model and critic share: a peft model, its trainable tensors, and its cost."""

    def __init__(self, model: nn.Module, encoder: Encoder, meter: Meter, batch: int, share: float = 1.0):
        self.model, self.encoder, self.meter, self.batch, self.share = model, encoder, meter, batch, share
        self.device = next(model.parameters()).device
        self.parameters = {_short(name): p for name, p in model.named_parameters() if p.requires_grad}
        total = sum(p.numel() for p in model.parameters())
        self.trained = sum(p.numel() for p in self.parameters.values()) / total
        self._adapters = adapted_layers(model)
        self._packing: bool | None = None  # whether rows that share a prompt can share its forward pass; None = unseen
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

    @property
    def plain(self) -> nn.Module:
        """The transformers model inside peft's wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def hidden(self, sequences: Sequences) -> torch.Tensor:
        """Last hidden states (B, 1 + R, H) of the backbone: at the prompt's last token and at each completion token.

        Where several rows have the same prompt it is read once, by models for which that gives the same numbers.
        """
        return self._hidden_packed(sequences.packed) if self._packs(sequences) else self._hidden_plain(sequences)

    def _hidden_plain(self, sequences: Sequences) -> torch.Tensor:
        states = self.plain.base_model(input_ids=sequences.ids, attention_mask=sequences.mask,
                                       position_ids=positions(sequences.mask), use_cache=False).last_hidden_state
        return states[:, sequences.prompt_length - 1 :]

    def _hidden_packed(self, packed: Packed) -> torch.Tensor:
        return packed.completions(self.plain.base_model(
            input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False,
        ).last_hidden_state)

    def _packs(self, sequences: Sequences) -> bool:
        """Whether rows share prompts, and the model heeds a mask of our own: seen once, on two rows of one prompt."""
        if sequences.packed is None or self._packing is False:
            return False
        if self._packing is None:
            self._packing = heeds_masks(self.plain) and self._packing_is_exact(sequences)
        return self._packing

    @torch.no_grad()
    def _packing_is_exact(self, sequences: Sequences) -> bool:
        prompt_of = sequences.packed.prompt_of
        row = int(prompt_of.bincount(minlength=1).argmax())
        two = sequences.select((prompt_of == row).nonzero().squeeze(1)[:2])
        with evaluating(self.model):
            plain, packed = self._hidden_plain(two), self._hidden_packed(two.packed)
        real = torch.nn.functional.pad(two.completion_mask, (1, 0), value=1).unsqueeze(2)
        apart = ((packed - plain) * real).abs().max()
        return bool(apart <= 1e-2 * plain.abs().max())

    @contextlib.contextmanager
    def merged(self) -> Iterator[None]:
        """Inside, the adapter is part of the base weights, so that a forward pass costs what it costs without one.

        Copies of the weights take the product up; the tensors themselves are only put aside, so nothing is left behind.
        Nothing happens where copies would be large, or where the base is of low precision and would round the adapter
        away. For sampling and scoring; not for losses whose small differences count.
        """
        layers = [layer for *_, layer in self._adapters]
        weights = [layer.get_base_layer().weight for layer in layers]
        exact = all(weight.dtype == torch.float32 for weight in weights)
        if not layers or not exact or sum(weight.numel() for weight in weights) > MERGED_ENTRIES:
            yield
            return
        aside = [weight.data for weight in weights]
        try:
            with torch.no_grad():
                for layer, weight in zip(layers, weights, strict=True):
                    weight.data = weight.data + layer.get_delta_weight("default")
            with self.without_adapter():
                yield
        finally:
            for weight, data in zip(weights, aside, strict=True):
                weight.data = data

    @contextlib.contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Inside, every adapted layer is its base layer: what peft's ``disable_adapter`` computes, free of cost."""
        before = [getattr(parent, name) for parent, name, _ in self._adapters]
        try:
            for parent, name, layer in self._adapters:
                setattr(parent, name, layer.get_base_layer())
            yield
        finally:
            for (parent, name, _), module in zip(self._adapters, before, strict=True):
                setattr(parent, name, module)

    def _scored(self, sequences: Sequences, score: Callable[[Sequences], torch.Tensor], width: int) -> torch.Tensor:
        """``score`` (b, r) of at most ``batch`` rows at a time → (B, width), 0 where a part is narrower."""
        values = torch.zeros(len(sequences), width, device=self.device)
        for rows, part in sequences.cut(self.batch):
            found = score(part)
            values[rows, : found.shape[1]] = found
        return values

    def _charge(self, sequences: Sequences) -> None:
        tokens = int(sequences.mask.sum())
        self.meter.forward(tokens, self.share)
        if torch.is_grad_enabled():
            self.meter.backward(tokens, self.trained, self.share)


def _short(name: str) -> str:
    """Parameter names without peft's wrappers: the same for policy and reward model."""
    return name.removeprefix("base_model.model.").replace(".default.", ".").replace("modules_to_save.", "")


class Policy(Adapted):
    """π: a causal language model with a LoRA adapter, or (rank 0) all of its parameters trained.

    Args:
        reference_model: π₀ where there is no adapter to switch off.
    """

    def __init__(self, *args: Any, reference_model: nn.Module | None = None):
        super().__init__(*args)
        self._reference_model = reference_model.eval().requires_grad_(False) if reference_model else None
        self._plain_head: bool | None = None  # whether logits are the output layer of the hidden states; None = unseen

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """π₀ inside the block: the adapter is off."""
        if self._reference_model is None:
            with self.without_adapter():
                yield
            return
        trained, self.model = self.model, self._reference_model
        try:
            yield
        finally:
            self.model = trained

    def logits(self, sequences: Sequences) -> torch.Tensor:
        """Logits (B, R, V) that predict the completion's tokens; only those positions are computed."""
        self._charge(sequences)
        return self._logits(sequences)

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
        """Some models scale or cap their logits: seen once, on one row."""
        if self._plain_head is None:
            row = sequences.select(slice(0, 1))
            with evaluating(self.model):
                ours = self.plain.get_output_embeddings()(self.hidden(row)[:, :-1])
                theirs = self._logits(row)
            self._plain_head = bool((ours - theirs).abs().max() <= 1e-2 * theirs.abs().max())
        return self._plain_head

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
                whole = [torch.cat([start_part.repeat_interleave(copies, 0), new_part], 1)
                         for start_part, new_part in ((ids, new), (mask, (after == 0).long()))]
                parts.append(Sequences(*whole, width))
                self.meter.forward(int(whole[1].sum()), self.share)
                logprobs.append(values)
        return join(parts, encoder.pad), _pad_stack(logprobs, 0.0)


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities (B, R), float32, of ``ids`` (B, R) under ``logits`` (B, R, V) at ``temperature``."""
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    return -nn.functional.cross_entropy(scaled.transpose(1, 2), ids, reduction="none")


class RewardModel(Adapted):
    """r: the backbone with a scalar head, read at the last token of the completion (also PPO's critic)."""

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
    def score_chunked(self, sequences: Sequences) -> torch.Tensor:
        """:meth:`score` without gradient, at most ``batch`` rows at a time."""
        with self.merged():
            return self._scored(sequences, lambda part: self.score(part).unsqueeze(1), 1).squeeze(1)

    @torch.no_grad()
    def values_chunked(self, sequences: Sequences) -> torch.Tensor:
        """:meth:`values` without gradient, ``batch`` rows at a time at most; meaningless beyond a completion's end."""
        with self.merged():
            return self._scored(sequences, self.values, sequences.completion_ids.shape[1] + 1)


def chunks(length: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``range(length)``."""
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


def _pad_stack(tensors: list[torch.Tensor], value: float) -> torch.Tensor:
    """Concatenate (b, r) tensors along rows, padded on the right to the longest r."""
    width = max(t.shape[1] for t in tensors)
    return torch.cat([nn.functional.pad(t, (0, width - t.shape[1]), value=value) for t in tensors])


def join(parts: list[Sequences], pad: int = 0) -> Sequences:
    """Stack sequences of different prompt and completion widths; ``pad`` fills what the mask hides."""
    width = max(p.prompt_length for p in parts)

    def widen(tensor: torch.Tensor, part: Sequences, value: int) -> torch.Tensor:
        return nn.functional.pad(tensor, (width - part.prompt_length, 0), value=value)

    return Sequences(_pad_stack([widen(p.ids, p, pad) for p in parts], pad),
                     _pad_stack([widen(p.mask, p, 0) for p in parts], 0), width)
