"""Rows of files in the formats that people have: JSON lines, JSON, CSV, Parquet; each but the last plain or gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.core.errors import DataError
from tasks.sources import each_once, opened, read_json_lines, start_of, visible

ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")
EXTRA = "(extra)"
LONGEST = 2**31 - 1  # characters of a CSV cell; the library's own limit is 131,072


def stem(name: str) -> str:
    """The name of a file less its ending; as it is if that is none of ours."""
    return next((name.removesuffix(end) for end in sorted(ENDINGS, key=len, reverse=True) if name.endswith(end)), name)


def data_files(folder: Path) -> list[Path]:
    """The files of ``folder`` that :func:`read_rows` can read, by name, each once; DataError as by ``each_once``."""
    return each_once([path for path in visible(folder, "*") if path.is_file() and path.name.endswith(ENDINGS)])


def read_rows(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(row, fields)`` of a file by its ending. A row's number is its (last) line, in Parquet and in a JSON list
    its place, from 1.

    Raises:
        DataError: unreadable, damaged, not UTF-8, of another shape, or nothing in it; names file and row.
    """
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        return _read_parquet(path, name)
    if plain.endswith(".csv"):
        return _read_csv(_text(path, name), name)
    if plain.endswith(".json") and (text := _text(path, name)).lstrip().startswith("["):
        return _read_json_list(text, name)
    return read_json_lines(path, name)


def _text(path: Path, name: str) -> str:
    try:
        with opened(path, name) as stream:
            return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, row {row}: not UTF-8 ({error.reason}). Save the file as UTF-8.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: truncated or damaged gzip ({error}). Make or download the file again.") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error}). Check the file.") from None


def _read_json_list(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON ({error}). Give one list of objects, or one object a line.") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{name}, row {number}: a JSON {type(row).__name__}, not an object. Fix or remove the row.")
        yield number, row


def _read_csv(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A header, then rows; a cell with a JSON list of objects (messages) is that list. Cells without a column are under
    :data:`EXTRA`, so that the row can be counted as a bad one."""
    csv.field_size_limit(LONGEST)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, None)
        if header is None:
            raise DataError(f"{name}: the file is empty. Give it a header and rows, or remove it.")
        if twice := sorted({column for column in header if header.count(column) > 1}):
            raise DataError(f"{name}, row 1: the header names column {', '.join(twice)} more than once. Which one "
                            f"holds the data cannot be told: rename the others.")
        for cells in rows:
            if cells:
                fields = {column: _cell(cell) for column, cell in zip(header, cells, strict=False)}
                yield rows.line_num, fields | ({EXTRA: cells[len(header):]} if len(cells) > len(header) else {})
    except csv.Error as error:
        raise DataError(f"{name}, row {rows.line_num}: not CSV ({error}). Put texts that hold a comma, a quote or a "
                        f"line end in double quotes, and double the quotes in them.") from None


def _cell(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return value
    return text


def _read_parquet(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Imported here: it takes half a second, and few data sets need it.
    import pyarrow
    from pyarrow import parquet

    try:
        start_of(path, name, parquet=True)
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({str(error).splitlines()[0][:200]}). Make or download the "
                        f"file again.") from None
