"""Checkpoints: the state of a piece of work, from which it goes on as if nothing had happened.

Every part with a state says it as nested dictionaries and lists of JSON values and tensors (``state``) and takes it
back (``load_state``). Random numbers need no state of their own: they are derived from names and counters, and the
counters are part of the state. A checkpoint is a folder of ``state.json``, ``tensors.safetensors`` and, with the
sha256 of both, ``manifest.json``; it is written under another name and renamed when all of it is on disk.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core import stopping
from benchmark.core.files import check, sha256, sync, write_json, write_tensors, writing

if TYPE_CHECKING:
    import torch


Saved = dict[str, Any]
FILES = ("state.json", "tensors.safetensors")
TENSOR = "__tensor__"  # key that stands for a tensor in state.json
KEPT = 2  # checkpoints: the newest, and the one before in case the newest is damaged
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)  # errors that stay, of a file that cannot be read


class Checkpoints:
    """The last two checkpoints of one piece of work, numbered folders in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _numbered(self) -> list[Path]:
        """Oldest first."""
        return sorted(path for path in self.folder.glob("*") if path.name.isdecimal())

    def save(self, state: Saved) -> None:
        """Write a checkpoint, then remove all but the last two.

        Raises:
            StorageError: it could not be written; earlier ones are as they were.
        """
        import torch

        tensors: dict[str, torch.Tensor] = {}

        def apart(value: Any, place: str) -> Any:
            if isinstance(value, torch.Tensor):
                tensors[place] = value.detach().cpu().contiguous()
                return {TENSOR: place}
            if isinstance(value, dict):
                return {str(key): apart(item, f"{place}/{key}") for key, item in value.items()}
            if isinstance(value, list | tuple):
                return [apart(item, f"{place}/{index}") for index, item in enumerate(value)]
            return value

        values, before = apart(state, ""), self._numbered()
        final = self.folder / f"{int(before[-1].name) + 1 if before else 1:08}"
        part = final.with_suffix(".part")
        with writing(final):
            shutil.rmtree(part, ignore_errors=True)  # of an attempt that was killed
            part.mkdir(parents=True)
            try:
                write_json(part / "state.json", values)
                write_tensors(part / "tensors.safetensors", tensors)
                write_json(part / "manifest.json", {name: sha256(part / name) for name in FILES})
                part.rename(final)
                sync(self.folder)
                if not before:  # the folder is new, as are logs and adapters beside it
                    sync(self.folder.parent)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)  # a full disk needs the space
                raise
        for old in self._numbered()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, note: Callable[[str], None], accept: Callable[[Saved], None] = lambda state: None) -> Saved | None:
        """The newest checkpoint that is whole, or None.

        Args:
            note: told of every checkpoint that cannot be used, and why; it is removed.
            accept: raises ValueError or OSError if what a checkpoint belongs to is not there.

        Raises:
            OSError: of the kind that passes (too many open files, no permission); every checkpoint is as it was.
        """
        for folder in reversed(self._numbered()):
            try:
                state = read(folder)
                accept(state)
                return state
            except (OSError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, OSError) and error.errno not in GONE:  # it may be whole: nothing is removed
                    raise
                note(f"checkpoint {int(folder.name)} is damaged and not used: {_plain(error)}")
                shutil.rmtree(folder, ignore_errors=True)
        return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _plain(error: Exception) -> str:
    """The error without the absolute path that the system's messages hold."""
    if isinstance(error, OSError) and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error) if isinstance(error, OSError | ValueError) else repr(error)


def read(folder: Path) -> Saved:
    """The state in one checkpoint.

    Raises:
        OSError, ValueError, KeyError, TypeError: a file is missing, cut off or altered.
    """
    from safetensors.torch import load_file

    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"manifest.json is not whole ({error})") from None
    for name in FILES:
        check(folder / name, manifest[name])
    # Clones, because a loaded tensor may be a view of the file, which is soon to be removed.
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "tensors.safetensors").items()}

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if TENSOR in value:
                return tensors[value[TENSOR]]
            return {key: whole(item) for key, item in value.items()}
        return [whole(item) for item in value] if isinstance(value, list) else value

    return whole(json.loads((folder / "state.json").read_text(encoding="utf-8")))


class Periodic:
    """Checkpoints of a piece of work that says often how far it is; one is taken when ``seconds`` have passed, and
    when the process is asked to stop, which it then does.

    Args:
        note: told of every checkpoint that cannot be used, and why.
        done: told the share that is done.
    """

    def __init__(self, checkpoints: Checkpoints, seconds: float, note: Callable[[str], None] = lambda text: None,
                 done: Callable[[float], None] = lambda share: None):
        self.checkpoints, self.seconds, self.note, self.done = checkpoints, seconds, note, done
        self._last = time.monotonic()

    def load(self) -> Saved | None:
        return self.checkpoints.load(self.note)

    def offer(self, state: Callable[[], Saved], share: float) -> None:
        self.done(share)
        if stopping.requested() or time.monotonic() - self._last >= self.seconds:
            self.checkpoints.save(state())
            self._last = time.monotonic()
            stopping.give_way()


def optimizer_state(optimizer: torch.optim.Optimizer) -> Saved:
    """Moments and step counts, by the parameter's position. Settings come from the configuration."""
    return {str(index): values for index, values in optimizer.state_dict()["state"].items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Saved) -> None:
    moments = {int(index): values for index, values in state.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
