"""Places on a disk: what is read from a result folder cannot lead out of it, and no file says where it was made."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from benchmark.core.errors import BenchmarkError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # of a task, a method or a profile: never a place
# An absolute path, one that climbs, or what is left of one; less its last part. In quotes it may hold spaces.
_WAY = re.compile(r"(?:…|\.\.|(?<=file:)//|(?<![\w./:…])|(?<=:)(?!//))(?:/[^\s/'\"]+)*/(?=[^\s/])"
                  r"|\b[A-Za-z]:\\(?:[^\s\\'\"]+\\)*(?=[^\s\\])")
_QUOTED = re.compile(r"(?<=['\"])(?:…|[A-Za-z]:(?=\\))?[/\\][^'\"\n]*[/\\](?=[^'\"\n]*['\"])")
BUNDLED = "bundled"  # the path of the base model that comes with the suite
BASE_MODEL = Path(__file__).parents[1] / "base_model"  # where it lies


def check_plain(name: object, what: str) -> str:
    """Return ``name`` if it can be part of a file name; BenchmarkError that begins with ``what`` otherwise."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BenchmarkError(f"{what} = {str(name)[:80]!r} is not a plain name (letters, digits, '.', '_' and '-'): it "
                             f"could lead out of the folder. Remove what holds it, or rename it.")
    return name


def within(folder: Path, path: Path) -> Path:
    """Return ``path`` if it lies in ``folder`` when links are followed; BenchmarkError otherwise."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BenchmarkError(f"{path} is a link that leads out of {folder}. Put a copy there instead of the link, or "
                             f"remove it.")
    return path


def own_folder(parent: Path, name: str) -> Path:
    """Create and return ``parent/name`` for files of ours: neither it nor an entry of it may be a link.

    Raises:
        BenchmarkError: one is; writing would change a file elsewhere.
    """
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *sorted(folder.iterdir())):
        if path.is_symlink():
            raise BenchmarkError(f"{path} is a link: what is written there would change a file elsewhere. Remove it.")
    return folder


def folder_name(path: str) -> str:
    """The name of a model as results show it: of a place on this machine its last part, a hub name as it is."""
    place = Path(path)
    if path in ("", BUNDLED):
        return path
    return place.resolve().name if place.is_absolute() or place.exists() else path


def model_place(path: str) -> str:
    """Where the model of that ``path`` is: a folder, or a hub name as it is. Every ``path`` goes through here before
    anything is read, so that a folder called ``bundled`` beside the user is not taken for the base model."""
    return str(BASE_MODEL) if path == BUNDLED else path


def without_places(text: str) -> str:
    """``text`` with every path cut to its last part, so that no folder, user or machine is named."""
    roots = {str(Path(__file__).parents[2])}
    for place in (Path.home, Path.cwd, tempfile.gettempdir):
        with contextlib.suppress(OSError, RuntimeError):  # a user without a home, a folder that was removed
            roots.add(str(place()))
    for root in sorted(roots | {str(Path(root).resolve()) for root in roots}, key=len, reverse=True):
        if len(root) > 1:
            text = re.sub(re.escape(root) + r"(?![\w-])", "…", text)
    return _WAY.sub("…/", _QUOTED.sub("…/", text))
