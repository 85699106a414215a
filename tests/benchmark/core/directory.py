"""What of a run directory the records do not say."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmark.core.records import FILES, SETTINGS, Record
from benchmark.reporting.read import schema


def objects(path: Path) -> list[dict[str, Any]]:
    """The object of a JSON file, or of each line of a log; none if it is not there."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


def undescribed(record: Record) -> set[str]:
    """Keys of open sets that have no help line."""
    return {key for spec in fields(record) if (known := spec.metadata["keys"]) and known is not SETTINGS
            for key in getattr(record, spec.name) if key not in known}


def unlike(folder: Path, whole: bool = True) -> list[str]:
    """``file: what`` for each object that its record would not write as it stands, and each key without a help line.

    Args:
        whole: an older version may have written fewer fields if it is False.
    """
    found = []
    for name, cls in FILES.items():
        for value in objects(folder / name):
            record = schema.read(cls, value, name)
            row = json.loads(json.dumps(record.as_row()))
            if json.dumps(row if whole else like(row, value)) != json.dumps(value):
                found.append(f"{name}: {row} is not {value}")
            found += [f"{name}: {key} has no help line" for key in sorted(undescribed(record))]
    return found


def like(row: Any, value: Any) -> Any:
    """``row`` without what ``value`` lacks."""
    if not isinstance(row, dict) or not isinstance(value, dict):
        return row
    return {key: like(item, value[key]) for key, item in row.items() if key in value}
