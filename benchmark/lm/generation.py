"""Sampling with a key-value cache: the prompt once for all its completions, no row computed after its end."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

WINDOWS = ("sliding_window", "attention_window", "window_size", "attention_chunk_size")  # fields of configurations
COMPACT = 0.75  # rows that have ended are dropped from the batch when fewer than this share are left


class ReservedLayer(DynamicLayer):
    """A cache layer with room for all tokens from the start, so that a new token is written and nothing is copied."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, width: int):
        super().__init__()
        self.width, self.length = width, 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
               ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, H, n, D) keys and values; return all of them so far."""
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            batch, heads, _, size = key_states.shape
            self.keys = key_states.new_empty(batch, heads, self.width, size)
            self.values = value_states.new_empty(*value_states.shape[:2], self.width, value_states.shape[3])
        end = self.length + key_states.shape[2]
        self.keys[:, :, self.length:end] = key_states
        self.values[:, :, self.length:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length


def make_cache(model: Any, width: int) -> DynamicCache:
    """The model's own kind of cache, its plain layers replaced by reserved ones (sliding windows stay as they are)."""
    cache = DynamicCache(config=model.config)
    cache.layers = [ReservedLayer(width) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def heeds_masks(model: Any) -> bool:
    """Whether a boolean mask (B, 1, query, key) is all that decides who sees whom: torch's attention, and neither a
    window, named for each layer or for all, nor distances that are counted from the mask (ALiBi)."""
    config = model.config
    layers = getattr(config, "layer_types", None)
    window = set(layers) != {"full_attention"} if layers else any(getattr(config, name, None) for name in WINDOWS)
    return config._attn_implementation == "sdpa" and not window and not getattr(config, "alibi", False)


@torch.no_grad()
def sample(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, copies: int, uniforms: torch.Tensor,
           temperature: float, eos: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample completions by inversion of the cumulative distribution.

    Args:
        ids, mask: (N, P) left-padded prompts.
        copies: completions per prompt; B = N · copies rows, those of one prompt consecutive.
        uniforms: (B, R) in [0, 1): one draw a row and token, so that a row's text depends on nothing but its own draws.
        temperature: of the softmax; no top-k, no top-p.

    Returns:
        Tokens (B, r) and their log-probabilities (B, r, float32) at ``temperature``, r ≤ R the longest completion;
        after a row's EOS they are ``pad`` and 0.
    """
    rows, steps = uniforms.shape
    cache = make_cache(model, ids.shape[1] + steps)
    # One query sees every real key: where the model takes such a mask as it is, it need not work it out at every step.
    ready_made = heeds_masks(model)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True,
                   logits_to_keep=1).logits[:, -1]
    if copies > 1:
        cache.batch_repeat_interleave(copies)
        logits, mask = logits.repeat_interleave(copies, 0), mask.repeat_interleave(copies, 0)
    tokens = ids.new_full((rows, steps), pad)
    logprobs = torch.zeros(rows, steps, device=ids.device)
    position = mask.sum(1, keepdim=True)
    active = torch.arange(rows, device=ids.device)  # rows of the result that the batch still holds
    alive = torch.ones_like(active, dtype=torch.bool)
    for step in range(steps):
        scaled = logits.float() if temperature == 1 else logits.float() / temperature
        scaled = scaled - scaled.amax(1, keepdim=True)
        cumulative = scaled.exp().cumsum(1)
        total = cumulative[:, -1:]
        draw = uniforms[active, step : step + 1] * total
        token = torch.searchsorted(cumulative, draw, right=True).clamp(max=cumulative.shape[1] - 1)
        value = (scaled.gather(1, token) - total.log()).squeeze(1)
        token = torch.where(alive.unsqueeze(1), token, pad)
        tokens[active, step] = token.squeeze(1)
        logprobs[active, step] = torch.where(alive, value, 0.0)
        alive = alive & (token.squeeze(1) != eos)
        left = int(alive.sum())
        if left == 0 or step + 1 == steps:
            break
        if left < COMPACT * len(active):
            keep = alive.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            active, token, mask, position = active[keep], token[keep], mask[keep], position[keep]
            alive = alive[keep]
        mask = nn.functional.pad(mask, (0, 1), value=1)
        logits = model(input_ids=token, attention_mask=mask[:, None, None].bool() if ready_made else mask,
                       position_ids=position, past_key_values=cache, use_cache=True).logits[:, -1]
        position = position + 1
    return tokens[:, : step + 1], logprobs[:, : step + 1]
