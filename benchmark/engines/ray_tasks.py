"""Ray core tasks: each bundle is a task that starts ``work``.

A task holds nothing but words. It is not retried by Ray, neither when its node dies nor when its memory runs out (which
Ray would do without end): the command that sent it decides.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.sections import EngineSettings
from benchmark.engines.job import carry_out
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, LOST, MEMORY


class RayTasks:
    """The cluster that ``RAY_ADDRESS`` names, or that runs on this machine, or one of this machine's own."""

    detached = False  # Ray ends the tasks of a command that is gone; `ray job submit` is for commands that go on

    def __init__(self) -> None:
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` uploads the working directory
        try:
            import ray
        except ImportError:
            raise ConfigError("--engine ray needs Ray: pip install -c constraints.txt -e '.[ray]'") from None
        self._ray, self._numbers = ray, itertools.count(1)
        self._tasks: dict[str, Any] = {}
        try:
            if not ray.is_initialized():
                ray.init(log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"--engine ray: no cluster can be reached ({error}). Start one with `ray start --head`, "
                              f"or set RAY_ADDRESS.") from None
        # A fresh process for each: what a GPU holds for the one before is gone.
        self._work = ray.remote(max_calls=1, max_retries=0)(carry_out)

    def send(self, words: Sequence[Sequence[str]], settings: EngineSettings, after: str = "") -> list[str]:
        asked: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, "name": "zo-benchmark"}
        if settings.memory_gib:
            asked["memory"] = int(settings.memory_gib * 2**30)
        if settings.constraint:
            asked["accelerator_type"] = settings.constraint
        awaited = [self._tasks[after]] if after in self._tasks else []
        numbers = []
        for each in words:
            numbers.append(str(next(self._numbers)))
            self._tasks[numbers[-1]] = self._work.options(**asked).remote(list(each), *awaited)
        return numbers

    def fate(self, number: str) -> str:
        if number not in self._tasks:  # of an earlier command, with which it ended
            return LOST
        ready, _ = self._ray.wait([self._tasks[number]], timeout=0)
        if not ready:
            return ALIVE
        errors = self._ray.exceptions
        try:
            self._ray.get(ready[0])
        except errors.OutOfMemoryError:
            return MEMORY
        except errors.TaskCancelledError:
            return CANCELLED
        except errors.RayError:  # of the worker, its node, or the task before it
            return LOST
        return ENDED

    def cancel(self, numbers: Sequence[str]) -> None:
        for number in set(numbers) & self._tasks.keys():
            self._ray.cancel(self._tasks[number], force=False)
