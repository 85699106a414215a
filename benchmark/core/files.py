"""Files that are whole or not there: written beside their place, forced to disk, then renamed; and their checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.core.errors import AGAIN, BenchmarkError, StorageError

REMEDIES = {
    errno.ENOSPC: "Free some space, or pass another --out or --cache.",
    errno.EDQUOT: "The quota is used up: free some space, or pass another --out or --cache.",
    errno.EROFS: "Make the folder writable, or pass another --out or --cache.",
    errno.EACCES: "Make the folder writable, or pass another --out or --cache.",
}
DENIED = (errno.EACCES, errno.EPERM)
PERMISSION = "Ask its owner for permission to read it (chmod g+r, umask); nothing of it has to be removed."
KEPT = "Finished runs and the last checkpoint are kept; the same command goes on from there."


def storage_error(path: Path, error: Exception) -> StorageError:
    """What a user needs to know about a failed write or read of ``path``; no absolute path in it."""
    reason = getattr(error, "strerror", None) or str(error)
    code = getattr(error, "errno", None)
    if code is None and os.strerror(errno.ENOSPC) in reason:  # safetensors tells the system's error in words only
        code = errno.ENOSPC
    remedy = REMEDIES.get(code or 0, "Look at the disk.")
    return StorageError(f"{path.parent.name}/{path.name}: cannot be written ({reason}). {remedy} {KEPT}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, a failed write is a StorageError that names ``path``, reason and remedy."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise storage_error(path, error) from error


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, then put it in the place of ``path``: old or new, and always whole.

    Raises:
        StorageError: the system refuses; ``path`` is as it was.
    """
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            part.unlink(missing_ok=True)  # what a kill left; and were it a link, another file would be written to
            part.touch()
            mode = part.stat().st_mode
            write(part)
            part.chmod(mode)  # as the umask has it: safetensors writes files that nobody else can read
            sync(part)
            part.replace(path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # the error that brought us here is the one to tell
                part.unlink(missing_ok=True)
            raise


def share(paths: Iterable[Path], folder: Path) -> None:
    """Give ``paths``, which a library wrote, the mode that a new file in ``folder`` has."""
    probe = folder / f".mode-{os.getpid()}"
    with writing(probe):
        probe.touch()
        mode = probe.stat().st_mode
        probe.unlink()
        for path in paths:
            if path.stat().st_mode != mode:
                path.chmod(mode)


def unreadable(place: str, error: OSError, remedy: str) -> BenchmarkError:
    """What to say of a file that is there and cannot be read; ``remedy`` where permission is not what lacks."""
    return BenchmarkError(f"{place}: cannot be read ({error.strerror}). "
                          f"{PERMISSION if error.errno in DENIED else remedy}")


def write_text(path: Path, text: str) -> None:
    replace_file(path, lambda part: part.write_bytes(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write JSON; ValueError, and nothing written, if a number in it is not finite."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def json_object(text: str, place: str) -> dict[str, Any]:
    """The JSON object ``text`` of a run's file; BenchmarkError that begins with ``place`` if it is none."""
    try:
        if isinstance(value := json.loads(text), dict):
            return value
        reason = "not a JSON object"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise BenchmarkError(f"{place}: cannot be read ({reason}). {AGAIN}")


def read_text(path: Path) -> tuple[str, str]:
    """The text of a run's file and how a message names it; BenchmarkError if it cannot be read."""
    place = f"{path.parent.name}/{path.name}"
    try:
        return path.read_text(encoding="utf-8"), place
    except OSError as error:
        raise unreadable(place, error, AGAIN) from None
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{place}: cannot be read ({error}). {AGAIN}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a run's file; BenchmarkError that names it if it cannot be read or holds none."""
    return json_object(*read_text(path))


def write_tensors(path: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    replace_file(path, lambda part: save_file(tensors, part))


def sha256(path: Path, size: int | None = None) -> str:
    """Checksum of a file, or of its first ``size`` bytes; ValueError if it is shorter."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with open(path, "rb") as file:
        while left:
            block = file.read(min(left, 2**20))
            if not block:
                raise ValueError(f"{path.name} is {left} bytes too short")
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def check(path: Path, digest: str, size: int | None = None) -> None:
    """ValueError if a file, or its first ``size`` bytes, is not what ``digest`` was made of; OSError if it is gone."""
    if sha256(path, size) != digest:
        raise ValueError(f"{path.name} does not match its checksum")


def value_digest(value: Any) -> str:
    """Checksum of a JSON value, whatever its layout in a file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
