"""Policy and reward model: every forward pass of the suite goes through here and is charged here.

:mod:`benchmark.lm.trained` chooses what of them is trained. The reference policy is the policy with its LoRA layers
switched off, or with the tensors that it trains as they were at the start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad

from benchmark.core.meter import Meter
from benchmark.core.seeding import generator
from benchmark.lm.below import Below
from benchmark.lm.encoder import Encoder
from benchmark.lm.generation import heeds_masks
from benchmark.lm.replacing import replaced
from benchmark.lm.sequences import Packed, Sequences, evaluating

Tensors = dict[str, torch.Tensor]

MERGED_ENTRIES = 16_000_000  # of base weights that an adapter is merged into a copy of, at most (64 MiB)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids (B, L) that ignore left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether two ways to compute one thing differ by rounding only. In bfloat16 that is up to 2 % of the norm after
    thirty layers, by padding alone."""
    tolerance = 1e-4 if theirs.dtype == torch.float32 else 5e-2
    return bool((ours - theirs).float().norm() <= tolerance * theirs.float().norm())


def adapted_layers(model: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    """Every LoRA layer of ``model``, after the module that holds it and its name there."""
    from peft.tuners.lora import LoraLayer

    return [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()
            if isinstance(child, LoraLayer)]


class Adapted:
    """What policy, reward model and critic share: a model, the tensors of it that are trained, and its cost.

    Attributes:
        rereads: whether it reads the same sequences more than once.
    """

    rereads = True

    def __init__(self, model: nn.Module, encoder: Encoder, meter: Meter, batch: int, share: float = 1.0):
        self.model, self.encoder, self.meter, self.batch, self.share = model, encoder, meter, batch, share
        self.device = next(model.parameters()).device
        self.parameters = {_short(name): p for name, p in model.named_parameters() if p.requires_grad}
        total = sum(p.numel() for p in model.parameters())
        self.trained = sum(p.numel() for p in self.parameters.values()) / total
        self._adapters = adapted_layers(model)
        self._base: list[tuple[nn.Module, str, nn.Module | nn.Parameter]] = [
            (parent, name, layer.get_base_layer()) for parent, name, layer in self._adapters]
        self._below = Below(model, self.plain.base_model, self.parameters.values())
        # What the model was found to be on the first rows it read ("packing": rows that share a prompt can share its
        # forward pass). A resumed run would find it out on other rows, so checkpoints hold it.
        self.found: dict[str, bool] = {}
        self._looked = False  # at what comes before and after the layers
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

        Where several rows have the same prompt it is read once, by models for which that gives the same numbers. What
        comes before the first trained parameter is computed once for all readings of ``sequences`` that are kept.
        """
        packed = sequences.packed
        packed = packed if packed is not None and self._packs(sequences) else None
        below, known = self._below, sequences.known
        if known is None or not self.rereads or not self._repeats(sequences):
            self._compute(sequences, packed, 1.0)
            return self._hidden(sequences, packed)
        self._compute(sequences, packed, below.share if self in known else 1.0)
        return self._hidden_again(sequences, packed, known)

    def _hidden_again(self, sequences: Sequences, packed: Packed | None, known: dict[object, Any]) -> torch.Tensor:
        """:meth:`hidden`; ``known`` has what the layers below said, or gets it."""
        below = self._below
        if self not in known:
            with below.noted() as found:
                hidden = self._hidden(sequences, packed)
            known[self] = found[0] if below.last is None else self._completions(found[0], sequences, packed)
            if below.last is None:
                return hidden
        if below.last is not None:
            return below.last(known[self])
        with below.given(known[self]):
            return self._hidden(sequences, packed)

    def _hidden(self, sequences: Sequences, packed: Packed | None) -> torch.Tensor:
        return self._hidden_plain(sequences) if packed is None else self._hidden_packed(packed)

    @staticmethod
    def _completions(states: torch.Tensor, sequences: Sequences, packed: Packed | None) -> torch.Tensor:
        return packed.completions(states) if packed else states[:, sequences.prompt_length - 1 :]

    @torch.no_grad()
    def _repeats(self, sequences: Sequences) -> bool:
        """Whether there are layers below the first trained parameter that can be left out: seen once, on one row."""
        below = self._below
        if below.depth == 0 or self.found.get("repeats") is False:
            return False
        if not self._looked:
            self._looked = True
            row, known = sequences.select(slice(0, 1)), dict[object, Any]()
            with evaluating(self.model):
                below.seen(lambda: self._hidden_plain(row))
                if below.depth:
                    plain = self._hidden_plain(row)
                    again = [self._hidden_again(row, None, known) for _ in range(2)][1]
                    same = bool((again - plain).abs().max() <= 1e-4 * plain.abs().max())
                    self.found.setdefault("repeats", same)
        return below.depth > 0 and self.found["repeats"]

    def _hidden_plain(self, sequences: Sequences) -> torch.Tensor:
        states = self.plain.base_model(input_ids=sequences.ids, attention_mask=sequences.mask,
                                       position_ids=positions(sequences.mask), use_cache=False).last_hidden_state
        return states[:, sequences.prompt_length - 1 :]

    def _hidden_packed(self, packed: Packed) -> torch.Tensor:
        return packed.completions(self.plain.base_model(
            input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False,
        ).last_hidden_state)

    def _packs(self, sequences: Sequences) -> bool:
        """Whether the model heeds a mask of our own: seen once, on two rows of one prompt, as long as rows can be."""
        if "packing" not in self.found:
            self.found["packing"] = heeds_masks(self.plain) and self._packing_is_exact(sequences)
        return self.found["packing"]

    @torch.no_grad()
    def _packing_is_exact(self, sequences: Sequences) -> bool:
        prompt, said = sequences.prompt_length, sequences.completion_ids.shape[1]
        if self.encoder:  # some models change with the length
            limits = self.encoder.decoding
            prompt, said = max(prompt, limits.max_prompt_tokens), max(said, limits.max_new_tokens)
        ids = torch.randint(self.plain.get_input_embeddings().num_embeddings, (2, prompt + said),
                            generator=generator("packing"))
        ids[1, :prompt] = ids[0, :prompt]
        two = Sequences(ids.to(self.device), torch.ones_like(ids, device=self.device), prompt)
        assert two.packed is not None  # two rows of one prompt always share it
        with evaluating(self.model):
            plain, packed = self._hidden_plain(two), self._hidden_packed(two.packed)
        return same(packed, plain)

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
        if _differentiates():
            self.meter.backward(tokens, self.trained, self.share)

    def _compute(self, sequences: Sequences, packed: Packed | None, above: float) -> None:
        """Book what a pass computes: the tokens of its layout, in ``above`` of the model where the rest is known."""
        tokens = float(sequences.mask.sum() if packed is None else packed.mask.diagonal(dim1=2, dim2=3).sum())
        back = self._below.share + self.trained if _differentiates() else 0.0  # no gradient goes below what is trained
        self.meter.computed(tokens * (above + back) * self.share)


def _differentiates() -> bool:
    """Tangents cost what gradients do: those of activations as much as a forward pass, those of weights on top."""
    return torch.is_grad_enabled() or forward_ad._current_level >= 0


def _short(name: str) -> str:
    """Parameter names without peft's wrappers: the same for policy and reward model."""
    return name.removeprefix("base_model.model.").replace(".default.", ".").replace("modules_to_save.", "")
