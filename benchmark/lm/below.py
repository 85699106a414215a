"""What of a backbone lies below the first trained parameter: while a batch is learned from, it always says the same.

Nothing here knows an architecture. The layers are the one list of modules that has as many as the configuration says;
what runs before and after them is seen on one row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

from benchmark.lm.replacing import replaced


class Given(nn.Module):
    """In the place of a layer: what a layer returned before."""

    def __init__(self, output: Any):
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


class Below:
    """The first layers of ``backbone``, up to the first that holds a trained parameter.

    Attributes:
        layers: all layers; ``depth`` of them are below.
        share: of the model's entries that every token is multiplied with, those above (0–1).
        last: the final norm, where no layer is trained and nothing but it comes after them.
    """

    def __init__(self, model: nn.Module, backbone: Any, trained: Iterable[nn.Parameter]):
        ids = {id(parameter) for parameter in trained}
        lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)
                 and len(module) == getattr(backbone.config, "num_hidden_layers", 0)]
        self.backbone, self.layers = backbone, lists[0] if len(lists) == 1 else nn.ModuleList()
        self.last: nn.Module | None = None

        def holds(module: nn.Module, recurse: bool) -> bool:
            return any(id(parameter) in ids for parameter in module.parameters(recurse))

        self.depth = next((i for i, layer in enumerate(self.layers) if holds(layer, True)), len(self.layers))
        inside = set(self.layers.modules())
        self._outside = [module for module in backbone.modules() if module not in inside and holds(module, False)]
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        entries = {id(p): p.numel() for module in model.modules() for p in module.parameters(recurse=False)
                   if not (id(p) in tables and isinstance(module, nn.Embedding))}
        below = sum(p.numel() for layer in self.layers[: self.depth] for p in layer.parameters())
        self.share = 1 - below / sum(entries.values())

    def seen(self, run: Callable[[], Any]) -> None:
        """Find out by ``run``, a pass through the backbone, whether what is trained outside of the layers comes after
        them (else nothing is below), and what comes after them at all."""
        after: list[nn.Module] = []
        ended = early = False
        called: set[nn.Module] = set()

        def end(*_: Any) -> None:
            nonlocal ended
            ended = True

        def begin(module: nn.Module, *_: Any) -> None:
            nonlocal early
            early |= not ended
            called.add(module)

        def note(module: nn.Module, inputs: tuple, output: Any) -> None:
            after.extend([module] if ended else [])

        others = [child for child in self.backbone.children() if child is not self.layers]
        hooks = [self.layers[self.depth - 1].register_forward_hook(end),
                 *(module.register_forward_pre_hook(begin) for module in self._outside),
                 *(child.register_forward_hook(note) for child in others)]
        try:
            run()
        finally:
            for hook in hooks:
                hook.remove()
        if early or called != set(self._outside):
            self.depth, self.share = 0, 1.0
        elif self.depth == len(self.layers) and len(after) == 1:
            self.last = after[0]

    @contextlib.contextmanager
    def noted(self) -> Iterator[list[Any]]:
        """Inside, a pass through the backbone leaves in the list what the last layer below returns."""
        found: list[Any] = []
        hook = self.layers[self.depth - 1].register_forward_hook(lambda _, inputs, output: found.append(output))
        try:
            yield found
        finally:
            hook.remove()

    def given(self, output: Any) -> contextlib.AbstractContextManager[None]:
        """Inside, the layers below are not computed: the last of them returns ``output``."""
        given = Given(output)
        return replaced([(self.layers, str(place), given) for place in range(self.depth)])
