"""Where raw rows come from: files in the published layout, or the hub. Rows, or an error with a remedy."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from benchmark.core.errors import DataError

JSON_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
COPY = re.compile(r"(?<=.)(?: ?\(\d+\)| copy(?: \d+)?| - Copy(?: \(\d+\))?)(?=(?:\.\w+)*$)|^Copy of ")
QUOTED = re.compile(r'"(?:[^"]|"")*"')
PARQUET = b"PAR1"
NO_ROWS = {  # first bytes of what is no file of rows → what it is, and the remedy
    b"version https://git-lfs.github.com/spec/": "a git-lfs pointer, not the rows: the repository was cloned without "
    "git-lfs. Run `git lfs pull` there, or download the file itself.",
    b"PK\x03\x04": "a ZIP archive. Unpack it.", b"BZh": "packed by bzip2. Unpack it.",
    b"\xfd7zXZ": "packed by xz. Unpack it.", b"\x28\xb5\x2f\xfd": "packed by zstd. Unpack it.",
    PARQUET: "a Parquet file under another ending. Rename it to .parquet for the task preferences, or give the "
    "published files.",
    b"<!DOCTYPE": "a web page, not the rows. Download the file itself.",
    b"<html": "a web page, not the rows. Download the file itself.",
}


def digest(parts: Iterable[str | bytes]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of ``parts``, each closed by a NUL byte."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
        sha.update(b"\0")
    return sha.hexdigest()[:16]


def rows_digest(rows: Iterable[Any]) -> str:
    """Return ``digest`` of JSON-like rows, independent of the order of their keys.

    Raises:
        DataError: a row nests too deeply to be written down; names its file and number.
    """

    def text(row: Any) -> str:
        try:
            return json.dumps(row, sort_keys=True, default=str)
        except RecursionError:
            place = ", row ".join(str(part) for part in row[:-1])
            raise DataError(
                f"{place}: lists or objects inside each other, too deep to be read. Fix or remove the row."
            ) from None

    return digest(map(text, rows))


def choose_root(folder: str | Path, names: Sequence[str], patterns: Sequence[str], what: str) -> Path:
    """Return the first of ``folder/name`` (``""`` is the folder itself) that holds a file of every pattern.

    Raises:
        DataError: the folder is missing, or no candidate fits; lists what was looked for, and where.
    """
    folder = Path(folder)
    if not folder.is_dir():
        why = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"data folder {folder} {why}. Pass --data FOLDER with {what} in its published layout: "
            f"{_expected(names, patterns)}; or leave --data out to use the bundled rows."
        )
    for name in names:
        if all(visible(folder / name, pattern) for pattern in patterns):
            return folder / name
    try:
        present = sorted(path.name for path in folder.iterdir())[:8]
    except OSError as error:
        raise DataError(f"data folder {folder} cannot be read ({error.strerror}). Check its permissions.") from None
    raise DataError(
        f"no {what} in data folder {folder}. Looked for {_expected(names, patterns)}. "
        f"The folder holds: {', '.join(present) or 'nothing'}. "
        "Put the published files there, pass another --data FOLDER, or leave it out to use the bundled rows."
    )


def _expected(names: Sequence[str], patterns: Sequence[str]) -> str:
    places = ["/".join(part for part in (name, pattern) if part) for pattern in patterns for name in names]
    return ", ".join(dict.fromkeys(places))


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return what below ``folder`` matches ``pattern``, in order, less what a system or an editor put there for itself:
    hidden files and folders (macOS's ``._x`` and ``__MACOSX``, ``.ipynb_checkpoints``)."""
    return [path for path in sorted(folder.glob(pattern))
            if not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)]


def json_files(folder: Path, pattern: str) -> list[Path]:
    """Return the JSON (lines) files below ``folder`` that match ``pattern``, plain or gzip, in order of their paths.

    Other endings (an editor's ``.json~``) are no data.

    Raises:
        DataError: as :func:`each_once`.
    """
    return each_once([path for path in visible(folder, pattern) if path.name.endswith(JSON_ENDINGS)])


def each_once(paths: Iterable[Path]) -> list[Path]:
    """Return ``paths`` whose rows must not count twice: of a file and its compressed twin the first, and no copy that
    a browser or a file manager made beside its original.

    Raises:
        DataError: what is named like a copy holds something else than its original.
    """
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(path.as_posix().removesuffix(".gz"), path)
    every = set(found.values())
    for path in every:
        for place in (path, path.parent):  # a file that was copied, or its folder
            original = place.with_name(COPY.sub("", place.name) or place.name) if place.name else place
            original = original if place is path else original / path.name
            if original != path and original in every:
                if path.read_bytes() != original.read_bytes():
                    raise DataError(f"{place.name}: named like a copy of {COPY.sub('', place.name)}, but it holds "
                                    f"something else. Remove the one that is not meant, or rename it if both are.")
                found.pop(path.as_posix().removesuffix(".gz"), None)
    return list(found.values())


def start_of(path: Path, name: str, parquet: bool = False) -> bytes:
    """Return the first bytes of a file of rows, plain, gzip, or ``parquet``.

    Raises:
        DataError: they say that it is something else; says what it is and what to do.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        first = file.read(256)
    for begins, words in NO_ROWS.items():
        if first.startswith(begins) and not (parquet and begins == PARQUET):
            raise DataError(f"{name}: {words}")
    return first


def opened(path: Path, name: str) -> BinaryIO | gzip.GzipFile:
    """Open a file of rows, gzip by its first bytes, whatever its ending says; errors as of :func:`start_of`."""
    first = start_of(path, name)
    packed = first.startswith(b"\x1f\x8b") or (path.suffix == ".gz" and len(first) < 2)  # too short to be told
    return gzip.open(path, "rb") if packed else open(path, "rb")


def read_lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    r"""Yield ``(line number from 1, text)`` of a UTF-8 file, plain or gzip.

    Only ``\n`` and ``\r\n`` end a line: other separators (U+2028, U+0085) are content. Lines without any
    character are skipped.

    Raises:
        DataError: unreadable, truncated or corrupt gzip, not UTF-8, or nothing in it; names the file and the line.
    """
    number = 0
    empty = True
    try:
        with opened(path, name) as stream:
            for raw in stream:
                number += 1
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text:
                    empty = False
                    yield number, text
    except UnicodeDecodeError as error:
        raise DataError(f"{name}, row {number}: not UTF-8 ({error.reason}). Save the file as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: truncated or damaged gzip after row {number} ({error}). Download the file again."
        ) from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error}). Check the file.") from None
    if empty:
        raise DataError(f"{name}: the file is empty. Download it again, or remove it.")


def read_json_lines(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number, object)`` of a file with one JSON object a line.

    Raises:
        DataError: as ``read_lines``, or a line is not a JSON object.
    """
    for number, text in read_lines(path, name):
        if not text.strip(" \t\r"):  # JSON's white space is no row
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{name}, row {number}: not JSON ({error}). The published format has one JSON object a line; "
                "fix or remove the line."
            ) from None
        if not isinstance(value, dict):
            raise DataError(
                f"{name}, row {number}: a JSON {type(value).__name__}, not an object. "
                "The published format has one JSON object a line."
            )
        yield number, value


def read_tsv(path: Path, name: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield ``(line number, fields)`` of a tab-separated file with a header; quotes are ordinary characters, unless a
    program that quotes cells has saved the file again (:func:`quoted`).

    A line with too few fields yields only those it has, one with too many gets them under ``"(extra)"``, so
    that the adapter can count it as a bad row; so is a line of nothing but tabs.

    Raises:
        DataError: as ``read_lines``, or the header lacks one of ``columns`` or names one twice.
    """
    header: list[str] | None = None
    lines = [(number, text.split("\t")) for number, text in read_lines(path, name)]
    if quoted([cells for _, cells in lines]):
        lines = [(number, [cell[1:-1].replace('""', '"') if QUOTED.fullmatch(cell) else cell for cell in cells])
                 for number, cells in lines]
    for number, cells in lines:
        if header is None:
            header = [cell.strip() for cell in cells]
            missing = [column for column in columns if column not in header]
            if missing:
                raise DataError(
                    f"{name}, row {number}: the header lacks column {', '.join(missing)} (found: "
                    f"{', '.join(header)[:200]}). It must be tab-separated with columns {', '.join(columns)}."
                )
            twice = [column for column in columns if header.count(column) > 1]
            if twice:
                raise DataError(
                    f"{name}, row {number}: the header names column {', '.join(twice)} more than once. Which one "
                    "holds the data cannot be told: rename the others."
                )
            continue
        fields = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            fields["(extra)"] = "\t".join(cells[len(header) :])
        yield number, fields


def quoted(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a program that puts cells in quotes wrote these: every header cell stands in quotes, or every cell with a
    quote in it does and has those within it doubled."""
    if all(QUOTED.fullmatch(cell) for cell in rows[0]):
        return True
    cells = [cell for row in rows for cell in row if '"' in cell]
    return all(QUOTED.fullmatch(cell) for cell in cells) and any('""' in cell[1:-1] for cell in cells)


def load_hub(dataset: str, config: str | None, revision: str | None) -> tuple[dict[str, Iterable[Any]], str | None]:
    """Return ``({split: rows}, revision)`` of a data set on the Hugging Face hub, or of its local cache.

    The revision is the commit that was loaded where ``datasets`` says so, else the one asked for if it is a commit:
    the name of a branch says nothing of its content. Else ``None``.

    Raises:
        DataError: the data set cannot be loaded (no network, unknown name, ...); says what to do instead.
    """
    # Imported here: it takes seconds, and only this path needs it.
    try:
        import datasets
    except ImportError:
        raise DataError(f"loading {dataset} from the hub needs the package: pip install datasets.") from None
    arguments = (dataset, config) if config else (dataset,)
    try:
        loaded = datasets.load_dataset(*arguments, revision=revision)
    except Exception as error:  # the library raises a dozen types for "no network" alone
        if "script" in str(error).lower() and revision is None:
            # Data sets with a loading script are served as files by the hub's own conversion branch.
            return load_hub(dataset, config, "refs/convert/parquet")
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            f"cannot load {dataset}{f' ({config})' if config else ''} from the hub: {reason}. "
            "Connect to the network or fill the hub cache, or pass --data FOLDER with the published files, "
            "or use the bundled rows."
        ) from error
    asked = revision if re.fullmatch(r"[0-9a-f]{40}", revision or "") else None
    return dict(loaded.items()), _loaded_commit(loaded) or asked


def _loaded_commit(loaded: Any) -> str | None:
    for split in loaded.values():
        for address in getattr(getattr(split, "info", None), "download_checksums", None) or {}:
            found = re.search(r"@([0-9a-f]{40})\b", str(address))
            if found:
                return found.group(1)
    return None
