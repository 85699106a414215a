"""Attributes of modules that are other ones for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from torch import nn


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
