"""Policy and reward model: every forward pass of the suite goes through here and is charged here.

:mod:`benchmark.lm.trained` chooses what of them is trained. The reference policy is the policy with its LoRA layers
switched off, or with the tensors that it trains as they were at the start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad

from benchmark.core.meter import Meter
from benchmark.lm.encoder import Encoder
from benchmark.lm.generation import heeds_masks
from benchmark.lm.sequences import Packed, Sequences, evaluating

Tensors = dict[str, torch.Tensor]

MERGED_ENTRIES = 16_000_000  # of base weights that an adapter is merged into a copy of, at most (64 MiB)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (B, L) that ignore left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def adapted_layers(model: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """Every LoRA layer of ``model``, after the module that holds it and its name there."""
    from peft.tuners.lora import LoraLayer

    return [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()
            if isinstance(child, LoraLayer)]


@contextlib.contextmanager
def replaced(places: Iterable[tuple[nn.Module, str, nn.Module | nn.Parameter]]) -> Iterator[None]:
    """Inside, the attribute ``name`` of ``module`` is ``value``, for every (module, name, value)."""
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    try:
        for module, name, value in places:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class Adapted:
    """What policy, reward model and critic share: a model, the tensors of it that are trained, and its cost."""

    def __init__(self, model: nn.Module, encoder: Encoder, meter: Meter, batch: int, share: float = 1.0):
        self.model, self.encoder, self.meter, self.batch, self.share = model, encoder, meter, batch, share
        self.device = next(model.parameters()).device
        self.parameters = {_short(name): p for name, p in model.named_parameters() if p.requires_grad}
        total = sum(p.numel() for p in model.parameters())
        self.trained = sum(p.numel() for p in self.parameters.values()) / total
        self._adapters = adapted_layers(model)
        self._base: list[tuple[nn.Module, str, nn.Module | nn.Parameter]] = [
            (parent, name, layer.get_base_layer()) for parent, name, layer in self._adapters]
        # What the model was found to be on the first rows it read ("packing": rows that share a prompt can share its
        # forward pass). A resumed run would find it out on other rows, so checkpoints hold it.
        self.found: dict[str, bool] = {}
        model.eval()

    def state(self) -> Tensors:
        """A copy of the trainable tensors on the CPU, by name (the head of a reward model included)."""
        return {name: p.detach().cpu().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def load_state(self, state: Tensors) -> None:
        """Put ``state`` into the trainable tensors; names must match exactly."""
        if state.keys() != self.parameters.keys():
            raise ValueError(f"adapter names differ: {sorted(state.keys() ^ self.parameters.keys())[:3]} …")
        for name, parameter in self.parameters.items():
            parameter.copy_(state[name])

    def saved(self) -> dict[str, Any]:
        """A checkpoint's part: the trainable tensors, and what the model was found to be."""
        return {"parameters": dict(self.parameters), "found": dict(self.found)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from :meth:`saved`."""
        self.load_state(saved["parameters"])
        self.found = dict(saved["found"])

    @property
    def plain(self) -> Any:
        """The transformers model inside peft's wrapper."""
        model: Any = self.model
        return model.get_base_model() if hasattr(model, "peft_config") else model

    def hidden(self, sequences: Sequences) -> torch.Tensor:
        """Last hidden states (B, 1 + R, H) of the backbone: at the prompt's last token and at each completion token.

        Where several rows have the same prompt it is read once, by models for which that gives the same numbers.
        """
        if sequences.packed is None or not self._packs(sequences, sequences.packed):
            return self._hidden_plain(sequences)
        return self._hidden_packed(sequences.packed)

    def _hidden_plain(self, sequences: Sequences) -> torch.Tensor:
        states = self.plain.base_model(input_ids=sequences.ids, attention_mask=sequences.mask,
                                       position_ids=positions(sequences.mask), use_cache=False).last_hidden_state
        return states[:, sequences.prompt_length - 1 :]

    def _hidden_packed(self, packed: Packed) -> torch.Tensor:
        return packed.completions(self.plain.base_model(
            input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False,
        ).last_hidden_state)

    def _packs(self, sequences: Sequences, packed: Packed) -> bool:
        """Whether the model heeds a mask of our own: seen once, on two rows of one prompt."""
        if "packing" not in self.found:
            self.found["packing"] = heeds_masks(self.plain) and self._packing_is_exact(sequences, packed.prompt_of)
        return self.found["packing"]

    @torch.no_grad()
    def _packing_is_exact(self, sequences: Sequences, prompt_of: torch.Tensor) -> bool:
        row = int(prompt_of.bincount(minlength=1).argmax())
        two = sequences.select((prompt_of == row).nonzero().squeeze(1)[:2])
        assert two.packed is not None  # two rows of one prompt always share it
        with evaluating(self.model):
            plain, packed = self._hidden_plain(two), self._hidden_packed(two.packed)
        real = torch.nn.functional.pad(two.completion_mask, (1, 0), value=1).unsqueeze(2)
        apart = ((packed - plain) * real).abs().max()
        return bool(apart <= 1e-2 * plain.abs().max())

    @contextlib.contextmanager
    def merged(self) -> Iterator[None]:
        """Inside, LoRA factors are part of the base weights, so that a forward pass costs what it costs without them.

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

    def without_adapter(self) -> contextlib.AbstractContextManager[None]:
        """Inside, every LoRA layer is its base layer (what peft's ``disable_adapter`` computes, free of cost), or the
        tensors that a :class:`Policy` trains are those that it started from."""
        return replaced(self._base)

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
        # Tangents cost what gradients do: those of activations as much as a forward pass, those of weights on top.
        if torch.is_grad_enabled() or forward_ad._current_level >= 0:
            self.meter.backward(tokens, self.trained, self.share)


def _short(name: str) -> str:
    """Parameter names without peft's wrappers: the same for policy and reward model."""
    return name.removeprefix("base_model.model.").replace(".default.", ".").replace("modules_to_save.", "")
