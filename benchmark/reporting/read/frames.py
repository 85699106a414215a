"""Finished runs as tidy pandas tables: one row an observation. Columns have the names that docs/results.md gives the
fields, with their units there; a value that is missing or no finite number is NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from benchmark.core.escape import csv_cell
from benchmark.core.files import replace_file, write_text
from benchmark.core.paths import own_folder
from benchmark.core.records import Metrics, UpdateRow
from benchmark.reporting.read import schema
from benchmark.reporting.read.reader import Results, read
from benchmark.reporting.read.runs import FinishedRun, number

LEFT_OUT = ("run", "adapters", "files", "digest")  # of a summary: repeated from config.json, or checksums


@dataclass(frozen=True)
class Runs:
    """The finished runs of a result folder.

    Attributes:
        folder: where they lie.
        results: the runs, typed (``results.runs``, ``results.of(task, method)``), and what is missing
            (``results.gaps()``, ``results.cautions()``).
    """

    folder: Path
    results: Results

    def curves(self) -> pd.DataFrame:
        """A row for each evaluation of a split: ``run``, ``task``, ``method``, ``seed``, then the fields of curve.jsonl
        (``split``, ``fraction``, ``spent.seconds``, ``metrics.reward``, …)."""
        return self._table(lambda run: [row.as_row() | {"metrics": finite(row.metrics)} for row in run.curve])

    def updates(self) -> pd.DataFrame:
        """A row for each update, of runs that kept their log: the fields of updates.jsonl (``loss``, ``step_norm``, …).

        Raises:
            BenchmarkError: a log cannot be read; names file and line.
        """
        return self._table(lambda run: [row.as_row() for row in schema.read_lines(
            UpdateRow, self.folder / run.name / "updates.jsonl")])

    def summaries(self) -> pd.DataFrame:
        """A row for each run: which it is, its hyperparameters (``method.lr``, …), and the fields of summary.json
        (``status``, ``reward_increase``, ``final.test.reward``, ``spent.seconds``, …)."""
        def row(run: FinishedRun) -> dict[str, Any]:
            found = {name: value for name, value in run.summary.as_row().items() if name not in LEFT_OUT}
            ends = {name: {split: finite(metrics) for split, metrics in (found.get(name) or {}).items()}
                    for name in ("initial", "final")}
            return {"profile": run.identity.profile, "protocol": run.identity.protocol, "hash": run.identity.hash,
                    "hyperparameters": run.section("method")} | found | ends | {
                        "warnings": "; ".join(run.summary.warnings), "resumed": run.summary.resumed.count}

        return self._table(lambda run: [row(run)])

    def export(self, folder: Path, kind: str) -> list[Path]:
        """Write ``curves``, ``updates`` and ``summaries`` below ``folder/export``; returns the paths.

        Args:
            kind: csv, in which no text is a formula, or parquet.

        Raises:
            StorageError: a file cannot be written.
        """
        out, written = own_folder(folder, "export"), []
        for name, table in (("curves", self.curves()), ("updates", self.updates()), ("summaries", self.summaries())):
            path = out / f"{name}.{kind}"
            if kind == "csv":
                text = table.apply(lambda column: column if is_numeric_dtype(column) else column.map(_cell))
                write_text(path, text.to_csv(index=False))
            else:
                replace_file(path, partial(_uniform(table).to_parquet, index=False))
            written.append(path)
        return written

    def _table(self, rows: Callable[[FinishedRun], list[dict[str, Any]]]) -> pd.DataFrame:
        return pd.json_normalize([{"run": run.name, "task": task, "method": run.method, "seed": run.seed, **row}
                                  for task in self.results.tasks for run in self.results.of(task) for row in rows(run)])


def read_runs(folder: Path) -> Runs:
    """As :func:`benchmark.read_runs`."""
    return Runs(folder, read(folder))


def _cell(value: Any) -> Any:
    return csv_cell(value) if isinstance(value, str) else value


def _uniform(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of several types as text, since a Parquet column has one."""
    mixed = [str(name) for name, column in table.items() if len({type(value) for value in column.dropna()}) > 1
             and not is_numeric_dtype(column)]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in mixed})


def finite(metrics: Mapping[str, Any]) -> Metrics:
    """``metrics`` with None for what is no finite number."""
    return {name: number(value) for name, value in metrics.items()}
