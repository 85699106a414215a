"""Independent random streams, each derived from names by a stable hash.

Every random draw of a run takes its seed from ``(run seed, purpose, counters)``, never from a shared global
generator. Adding a stream, or drawing more from one, therefore never moves another.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(*names: object) -> int:
    """Return a seed in ``[0, 2**63)`` from the text of ``names`` (sha256; Python's ``hash`` is salted per process)."""
    digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: object, device: str = "cpu") -> torch.Generator:
    """Return a new ``torch.Generator`` on ``device`` seeded from ``names``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(*names))


@contextlib.contextmanager
def global_seed(*names: object) -> Iterator[None]:
    """Seed torch's global generators inside the block, for library calls that take no generator; restore them after."""
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*names))
        yield
