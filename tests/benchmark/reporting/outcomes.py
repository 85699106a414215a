"""What of a finished run, preparation or report must not depend on interruptions, workers or the machine's load."""

from __future__ import annotations

import csv
import json
import re

TIMES = ("seconds", "ledgers", "wall_seconds", "peak_memory_mib", "resumed")
TIME_COLUMNS = re.compile(r"second|\[s\]|time|memory|at [\d.,]+ s |_at \[")
TIMED_TABLES = ("table_cost.csv", "table_published.csv")  # which hold little else


def without_times(value):
    """A row or summary less everything that is a time or an amount of memory."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return value


def of_run(store):
    """Summary, logs and adapters of a finished run."""
    rows = {name: [without_times(row) for row in store.rows(name)]
            for name in ("curve.jsonl", "updates.jsonl", "samples.jsonl")}
    return rows, without_times(store.summary()), store.digests()


def of_preparation(folder):
    """Every file's bytes, and what ``preparation.json`` says; times and the key apart."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    info = json.loads(found.pop("preparation.json"))
    found.pop("checksums.json")  # it holds that of preparation.json
    return found, {key: value for key, value in info.items() if key not in ("seconds", "key")}


def of_tables(folder):
    """Cells of the CSV tables of a report, less what times and memory have to do with."""
    tables = {}
    for path in sorted(folder.glob("table_*.csv")):
        if path.name in TIMED_TABLES:
            continue
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(line for line in file if not line.startswith("#"))
        kept = [index for index, name in enumerate(header) if not TIME_COLUMNS.search(name)]
        tables[path.name] = [[row[index] for index in kept if index < len(row)] for row in (header, *rows)]
    return tables
