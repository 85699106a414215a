"""Forward passes at other parameters than the present ones, of which no bit is lost.

Tensors are replaced for one pass (:class:`Perturbed`: one tensor at a time exists twice) or moved for many
(:func:`moved`: all of them do, and no pass pays for it). Neither takes back by arithmetic what it added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from baselines.contract import Problem


class Perturbed(TorchFunctionMode):
    """Inside, every torch function that is given one of ``parameters`` gets another tensor in its place.

    θ is never written to, so there is nothing to restore and no bit can be lost, whatever happens inside. The
    replacement is asked for when a function needs it and dropped when that function returns: a tensor that is made on
    request exists one layer at a time.

    Args:
        parameters: tensors by name.
        value: name → tensor to use instead.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], value: Callable[[str], torch.Tensor]):
        super().__init__()
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._value = value

    def _replaced(self, argument: Any) -> Any:
        if isinstance(argument, torch.nn.Parameter) and (name := self._names.get(id(argument))) is not None:
            return self._value(name)
        return argument

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func.__name__ == "__get__":  # reading .dtype or .shape needs no numbers
            return func(*args, **(kwargs or {}))
        args = tuple(self._replaced(argument) for argument in args)
        kwargs = {key: self._replaced(argument) for key, argument in (kwargs or {}).items()}
        return func(*args, **kwargs)


@contextlib.contextmanager
def moved(parameters: dict[str, torch.nn.Parameter], value: Callable[[str], torch.Tensor]) -> Iterator[None]:
    """Inside, ``parameters`` hold other tensors; after it those that they held before.

    Args:
        parameters: tensors by name.
        value: name → tensor to hold inside, not the one that is held now changed in place.
    """
    before = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = value(name)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = before[name]


def replaced(parameters: dict[str, torch.nn.Parameter], value: Callable[[str], torch.Tensor],
             problem: Problem) -> contextlib.AbstractContextManager:
    """Other tensors for a reading of ``problem``: many forward passes (a loss that samples) are worth a copy of what is
    trained; one makes a tensor at a time."""
    return (moved if problem.sampled else Perturbed)(parameters, value)
