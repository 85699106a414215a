"""Finished runs made by hand, from what stands in their files."""

from __future__ import annotations

from typing import Any

from benchmark.core.records import CurveRow, Environment, Identity, Summary
from benchmark.reporting.read import schema
from benchmark.reporting.read.runs import FinishedRun

PLACE = {"split": "validation", "fraction": 0.0, "update": 0, "iteration": 0}


def finished(task: str, method: str, seed: int, summary: dict[str, Any], curve: list[dict[str, Any]], *,
             config: dict[str, Any] | None = None, environment: dict[str, Any] | None = None,
             **identity: Any) -> FinishedRun:
    """A run that spent its budget; what is not given is missing from its files."""
    identity = {"task": task, "method": method, "seed": seed, "budget": {"kind": "seconds", "limit": 10}} | identity
    return FinishedRun(
        f"{task}__{method}__s{seed}__0", schema.read(Identity, identity, "config.json"), config or {},
        schema.read(Environment, environment or {}, "environment.json"),
        schema.read(Summary, {"status": "done"} | summary, "summary.json"),
        tuple(schema.read(CurveRow, PLACE | row, "curve.jsonl") for row in curve), ())
