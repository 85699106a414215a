"""Which runs may share a table: those that measure the same, and no seed of a row twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from benchmark.core.errors import BenchmarkError
from benchmark.core.fields import flat
from benchmark.core.naming import some_of
from benchmark.reporting.read.runs import FinishedRun

# Sections of a run's settings that may differ between the runs of a table: the method's own, which make it a variant,
# and what execution changes at most in the last bits of a reward (seconds: see the caution about machines).
OWN = ("method", "execution")
PROTOCOL = "protocol versions"  # the same over all tasks


def _shared(run: FinishedRun) -> dict[str, Any]:
    return {name: value for name, value in run.settings.items() if name not in OWN}


def _measurement(run: FinishedRun) -> dict[str, str]:
    """What all runs of a table have in common, each in words."""
    identity, data = run.identity, run.environment.data
    # What tells models of one name apart: hub revision, or digest of the folder; of the judge too.
    models = run.environment.model.revision, identity.model_digest, identity.judge_digest
    return {
        PROTOCOL: str(identity.protocol), "profiles": str(identity.profile),
        "task versions": str(identity.task_version),
        "budgets": f"{identity.budget.limit:.15g} {identity.budget.kind}",
        "data": f"{data.source} @ {data.revision}", "models": " ".join(filter(None, models)) or "unnamed",
        "settings": repr(sorted((name, repr(value)) for name, value in flat(_shared(run)).items()))}


def _cell(run: FinishedRun) -> tuple[str, str, int, str]:
    """What no two runs of a table have in common."""
    return run.task, run.identity.method, run.seed, repr(run.settings.get("method"))


def joined(runs: Sequence[FinishedRun], around: Collection[str]) -> tuple[list[FinishedRun], list[FinishedRun]]:
    """Those of ``runs`` that can share a table with the ones called ``around``, and the others.

    Of two others that must not share a table, or are the same seed of one row, the first is taken.
    """
    taken = [run for run in runs if run.name in around]
    left: list[FinishedRun] = []
    seen = set(map(_cell, taken))
    measured: dict[str, dict[str, str]] = {}  # task → what its table measures
    for run in taken:
        measured.setdefault(run.task, _measurement(run))
    for run in runs:
        if run.name not in around:
            mine = _measurement(run)
            first = next(iter(measured.values()), mine)
            if _cell(run) in seen or mine != measured.get(run.task, mine) or mine[PROTOCOL] != first[PROTOCOL]:
                left.append(run)
            else:
                taken.append(run)
                seen.add(_cell(run))
                measured.setdefault(run.task, mine)
    return sorted(taken, key=lambda run: run.name), left


def _differing(group: Sequence[FinishedRun]) -> Callable[[FinishedRun], str]:
    """A function that names the shared settings in which a run differs from others."""
    found = {run.name: {name: repr(value) for name, value in flat(_shared(run)).items()} for run in group}
    every = sorted(set().union(*found.values()))
    names = [name for name in every if len({values.get(name) for values in found.values()}) > 1]
    return lambda run: ", ".join(f"{name} = {found[run.name].get(name, 'missing')}" for name in names)


def refuse_mixtures(runs: Sequence[FinishedRun]) -> None:
    """BenchmarkError, with what differs and where, if ``runs`` must not share tables."""
    measured = {run.name: _measurement(run) for run in runs}

    def same(group: Sequence[FinishedRun], what: str, where: str, words: Mapping[str, str]) -> None:
        kinds: dict[str, list[str]] = {}
        for run in group:
            kinds.setdefault(words[run.name], []).append(run.name)
        if len(kinds) > 1:
            listed = "; ".join(f"{kind}: {some_of(names)}" for kind, names in sorted(kinds.items()))
            raise BenchmarkError(f"{where} mix {what}, which must not share a table. {listed}. Move one group to a "
                                 f"folder of its own and report each by itself.")

    same(runs, PROTOCOL, "the runs", {name: found[PROTOCOL] for name, found in measured.items()})
    for task in sorted({run.task for run in runs}):
        group, where = [run for run in runs if run.task == task], f"the runs of task {task!r}"
        differing = _differing(group)
        for what in measured[group[0].name]:
            same(group, what, where, {run.name: differing(run) if what == "settings" else measured[run.name][what]
                                      for run in group})
        cells: dict[tuple[str, int], str] = {}
        for run in group:
            other = cells.setdefault((run.method, run.seed), run.name)
            if other != run.name:
                raise BenchmarkError(f"{other} and {run.name} are the same method and seed with different settings; "
                                     f"averaging them would count one seed twice. Move one to another folder.")
