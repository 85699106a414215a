"""Independent random streams, each derived from names by a stable hash.

Every random draw of a run takes its seed from ``(run seed, purpose, counters)``, never from a shared global
generator. Adding a stream, or drawing more from one, therefore never moves another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 2**18  # numbers of one stream of standard_normal


def derive_seed(*names: object) -> int:
    """Return a seed in ``[0, 2**63)`` from the text of ``names`` (sha256; Python's ``hash`` is salted per process)."""
    digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: object, device: str = "cpu") -> torch.Generator:
    """Return a new ``torch.Generator`` on ``device`` seeded from ``names``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(*names))


def standard_normal(tensor: torch.Tensor, *names: object) -> torch.Tensor:
    """Independent N(0, 1) draws in the shape, dtype and place of ``tensor``, from the stream ``names``.

    On the CPU the tensor is cut into blocks, each with a stream of its own, which all of torch's threads fill side by
    side; the numbers do not depend on how many there are.
    """
    import torch

    if tensor.device.type != "cpu":
        stream = generator(*names, device=tensor.device.type)
        return torch.randn(tensor.shape, generator=stream, device=tensor.device, dtype=tensor.dtype)
    filled = torch.empty(tensor.numel())

    def fill(start: int) -> None:
        filled[start : start + BLOCK].normal_(generator=generator(*names, start // BLOCK))

    starts = range(0, len(filled), BLOCK)
    if len(starts) > 1 and torch.get_num_threads() > 1:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill, starts))
    else:
        for start in starts:
            fill(start)
    return filled.view(tensor.shape).to(tensor.dtype)


class ShuffledPasses:
    """Indices of ``range(length)`` in shuffled passes, a new permutation each pass.

    Args:
        length: at least 1.
        seed: names of the random stream; the number of the pass is added.
    """

    def __init__(self, length: int, *seed: object):
        self.length, self._seed, self.cursor = length, seed, 0
        self._pass, self._order = -1, list[int]()

    def take(self, count: int) -> list[int]:
        """The next ``count`` indices."""
        import torch

        taken = []
        for _ in range(count):
            number, index = divmod(self.cursor, self.length)
            if number != self._pass:
                self._pass = number
                self._order = torch.randperm(self.length, generator=generator(*self._seed, number)).tolist()
            taken.append(self._order[index])
            self.cursor += 1
        return taken


@contextlib.contextmanager
def global_seed(*names: object) -> Iterator[None]:
    """Seed torch's global generators inside the block, for library calls that take no generator; restore them after."""
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*names))
        yield
