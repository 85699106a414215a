"""Tensors as one vector and back: rules and estimates are of groups of tensors, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def flat(tensors: Sequence[torch.Tensor], copy: bool = False) -> torch.Tensor:
    """All entries as one (n,); of a single tensor a view, unless a ``copy`` is asked for."""
    if len(tensors) > 1:
        return torch.cat([tensor.reshape(-1) for tensor in tensors])
    return tensors[0].reshape(-1).clone() if copy else tensors[0].reshape(-1)


def parts(entries: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Views of ``entries`` (n,) in the shapes of the ``tensors``, whose entries it holds one after the other."""
    split = entries.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(split, tensors, strict=True)]
