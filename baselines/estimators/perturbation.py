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
from baselines.noise import Factors


class _Named(TorchFunctionMode):
    """Knows ``parameters`` when a function is given one of them."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter]):
        super().__init__()
        self._names = {id(parameter): name for name, parameter in parameters.items()}

    def _name(self, argument: Any) -> str | None:
        return self._names.get(id(argument)) if isinstance(argument, torch.nn.Parameter) else None


class Perturbed(_Named):
    """Inside, every torch function that is given one of ``parameters`` gets another tensor in its place.

    θ is never written to, so there is nothing to restore and no bit can be lost, whatever happens inside. The
    replacement is asked for when a function needs it and dropped when that function returns: a tensor that is made on
    request exists one layer at a time.

    Args:
        parameters: tensors by name.
        value: name → tensor to use instead.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], value: Callable[[str], torch.Tensor]):
        super().__init__(parameters)
        self._value = value

    def _replaced(self, argument: Any) -> Any:
        return argument if (name := self._name(argument)) is None else self._value(name)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if asks_no_numbers(func):
            return func(*args, **(kwargs or {}))
        args = tuple(self._replaced(argument) for argument in args)
        kwargs = {key: self._replaced(argument) for key, argument in (kwargs or {}).items()}
        return func(*args, **kwargs)


def asks_no_numbers(func: Callable) -> bool:
    """Whether ``func`` reads an attribute such as .dtype or .shape, and no transposed tensor."""
    attribute = getattr(getattr(func, "__self__", None), "__name__", "")
    return func.__name__ == "__get__" and attribute not in ("T", "mT", "H", "mH")


class NotTogether(Exception):
    """Examples cannot be read at parameters of their own in one pass: the model or the loss does not allow for it."""


class PerturbedEach(_Named):
    """Inside, the rows of every batch are computed with parameters of their own in one pass: θ + scale · zᵢ, where
    zᵢ = U ∘ rᵢ sᵢᵀ (Flipout, Wen et al. 2018, arXiv 1803.04386).

    A matrix costs one more product: x(θ + zᵢ)ᵀ = xθᵀ + ((x ∘ sᵢ)Uᵀ) ∘ rᵢ. Of a vector that multiplies or is added every
    row gets its own. The rows of a batch are those of the samples in their order, once or several times over (chosen,
    then rejected); a single row is the first sample's.

    Args:
        parameters: tensors by name.
        factors: name → U, r and s of the samples.

    Raises:
        NotTogether: a trained tensor is used in another way (looked up, fused, convolved), or has no such factors.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], factors: Callable[[str], Factors],
                 scale: float):
        super().__init__(parameters)
        self._factors, self._scale = factors, scale

    def _found(self, argument: Any) -> Factors | None:
        return None if (name := self._name(argument)) is None else self._factors(name)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        found = [self._found(argument) for argument in (*args, *kwargs.values())]
        if asks_no_numbers(func) or not any(found):
            return func(*args, **kwargs)
        if func.__name__ == "linear" and len(args) + len(kwargs) <= 3 and len(args) >= 2:
            return self._linear(*args, **kwargs)
        if func.__name__.strip("_") in ("mul", "rmul", "add", "radd") and len(args) == 2 and not kwargs:
            return func(*(self._vector(argument, args[1 - place]) for place, argument in enumerate(args)))
        raise NotTogether(f"{func.__name__} of a trained tensor")

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        product = torch.nn.functional.linear(x, weight.data)
        if found := self._found(weight):
            rows, columns = (self._of(part, x) for part in (found.rows, found.columns))
            product = product + self._scale * torch.nn.functional.linear(x * columns, found.base) * rows
        return product if bias is None else product + self._vector(bias, x)

    def _vector(self, argument: Any, beside: Any) -> Any:
        """A trained vector, as every row of ``beside`` has it; anything else as it is."""
        if not (found := self._found(argument)):
            return argument
        if argument.ndim != 1 or not isinstance(beside, torch.Tensor):
            raise NotTogether("an operation on a trained matrix")
        return argument.data + self._scale * self._of(found.base * found.rows * found.columns, beside)

    @staticmethod
    def _of(part: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(n, size) → (rows of x, 1, …, size)."""
        times, rest = divmod(len(x), len(part))
        if x.ndim < 2 or (rest and len(x) > 1):
            raise NotTogether("rows that are no examples")
        each = part.repeat(times, 1) if times else part[:1]
        return each.view(len(x), *[1] * (x.ndim - 2), -1)


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
