"""The rows of every task, read once before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.plan.resolve import Config
from tasks import get_task
from tasks.examples import RowLimits, TaskData


@dataclass(frozen=True)
class TaskSource:
    """A task's data as read before anything runs: enough to identify it."""

    task: str
    data: TaskData

    def versions(self) -> dict[str, str]:
        return {"task_version": self.data.version, "revision": self.data.revision}


def read_tasks(config: Config, tasks: list[str]) -> dict[str, TaskSource]:
    """Read every task's rows once, so that bad data stops the command before anything is trained.

    Raises:
        DataError: names file, row, field and remedy.
    """
    sources = {}
    for task in tasks:
        data = config.for_task(task).data
        rows = RowLimits(train=data.train_rows or None, held_out=data.heldout_rows or None)
        adapter = get_task(task)
        pairing = data.pairing if data.pairing in adapter.pairings else "default"  # only WMT20 has a variant
        loaded = adapter.load(data.source, folder=data.folder or None, seed=0, rows=rows,
                              max_rejected=data.max_rejected, pairing=pairing)
        sources[task] = TaskSource(task, loaded)
    return sources
