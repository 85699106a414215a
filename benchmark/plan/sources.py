"""The rows of every task, read once before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.core.sections import SECTIONS
from benchmark.plan.plugins import brought
from benchmark.plan.resolve import Config
from tasks import get_task
from tasks.adapter import TaskAdapter
from tasks.examples import RowLimits, TaskData


@dataclass(frozen=True)
class TaskSource:
    """A task's data as read before anything runs: enough to identify it."""

    task: str
    data: TaskData

    def versions(self) -> dict[str, str]:
        """What identifies them; of a task from a plugin the code, too."""
        plugin = brought("task", self.task)
        return {"task_version": f"{self.data.version}+{plugin.digest}" if plugin else self.data.version,
                "revision": self.data.revision}


def adapter_of(config: Config, task: str) -> TaskAdapter:
    """The adapter of ``task``, set as the section of its name says if there is one."""
    adapter = get_task(task)
    if task in SECTIONS:
        adapter.take(getattr(config, task))
    return adapter


def read_tasks(config: Config, tasks: list[str]) -> dict[str, TaskSource]:
    """Read every task's rows once, so that bad data stops the command before anything is trained.

    Raises:
        DataError: names file, row, field and remedy.
    """
    sources = {}
    for task in tasks:
        own = config.for_task(task)
        data = own.data
        rows = RowLimits(train=data.train_rows or None, held_out=data.heldout_rows or None)
        adapter = adapter_of(own, task)
        pairing = data.pairing if data.pairing in adapter.pairings else "default"  # only WMT20 has a variant
        loaded = adapter.load(data.source, folder=data.folder or None, seed=0, rows=rows,
                              max_rejected=data.max_rejected, pairing=pairing)
        sources[task] = TaskSource(task, loaded)
    return sources
