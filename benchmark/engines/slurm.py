"""Slurm by submitit: an array of jobs for bundles that ask for the same, after the job that makes their preparation.

submitit pickles what it is given: here a :class:`~benchmark.engines.job.Words`, which holds nothing but words. Shortly
before the time is over, or when another job takes the node, it calls its ``checkpoint`` and puts the job back into the
queue.
"""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.sections import EngineSettings
from benchmark.engines.job import Words
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, LOST, MEMORY, TIMEOUT

WARNING = 90  # seconds between SIGUSR2 and the end of the time
ASK = 60  # seconds between two questions to sacct, which sites do not like to be asked often
UNKNOWN = 600.0  # seconds after which a job that sacct has never heard of is taken for lost
FATES = {"COMPLETED": ENDED, "FAILED": ENDED, "FINISHED": ENDED, "OUT_OF_MEMORY": MEMORY, "TIMEOUT": TIMEOUT,
         "DEADLINE": TIMEOUT, "CANCELLED": CANCELLED, "PREEMPTED": LOST, "NODE_FAIL": LOST, "BOOT_FAIL": LOST,
         "INTERRUPTED": LOST, "NO PROCESS AND NO RESULT": LOST}  # all others: it waits, works or is put back


class Slurm:
    """Slurm, or with ``cluster`` = local processes of this machine in its place."""

    detached = True

    def __init__(self, cluster: str, folder: Path):
        try:
            import submitit
            from submitit.slurm import slurm
        except ImportError:
            raise ConfigError("--engine slurm needs submitit: pip install -c constraints.txt -e '.[slurm]'") from None
        self._submitit, self._cluster, self._folder = submitit, cluster, folder
        self._job: Any = {"slurm": slurm.SlurmJob, "local": submitit.LocalJob}[cluster]
        self._jobs: dict[str, Any] = {}
        self._unknown: dict[str, float] = {}
        slurm.SlurmJob.watcher = slurm.SlurmInfoWatcher(delay_s=ASK)

    def send(self, words: Sequence[Sequence[str]], settings: EngineSettings, after: str = "") -> list[str]:
        if settings.gpus != math.floor(settings.gpus):
            raise ConfigError(f"engine.gpus = {settings.gpus:g}: Slurm gives whole GPUs only.")
        try:
            executor = self._submitit.AutoExecutor(folder=self._folder, cluster=self._cluster,
                                                   slurm_max_num_timeout=settings.retries)
            executor.update_parameters(**parameters(settings, after))
            with executor.batch():
                jobs = [executor.submit(Words(each)) for each in words]
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            # Without sbatch, or with sbatch's own words about a partition or an account.
            raise ConfigError(f"--engine slurm: the jobs cannot be submitted ({error}). Give the command on a machine "
                              f"that has sbatch, and look at engine.partition and engine.account.") from None
        self._jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def fate(self, number: str) -> str:
        state = str(self._known(number).state).split(" ")[0] if self._cluster == "slurm" else self._known(number).state
        if state != "UNKNOWN":
            self._unknown.pop(number, None)
            return FATES.get(state.rstrip("+"), ALIVE)
        since = self._unknown.setdefault(number, time.monotonic())
        return LOST if time.monotonic() - since > UNKNOWN else ALIVE

    def cancel(self, numbers: Sequence[str]) -> None:
        for number in numbers:
            self._known(number).cancel(check=False)

    def _known(self, number: str) -> Any:
        """The job with that number, which another command may have sent."""
        if number not in self._jobs:
            self._jobs[number] = self._job(self._folder, number)
        return self._jobs[number]


def parameters(settings: EngineSettings, after: str) -> dict[str, Any]:
    """``settings`` in the words of submitit."""
    found: dict[str, Any] = {
        "name": "zo-benchmark", "nodes": 1, "tasks_per_node": 1, "timeout_min": settings.minutes,
        "cpus_per_task": settings.cpus, "gpus_per_node": int(settings.gpus),
        "slurm_signal_delay_s": WARNING}
    optional = {"mem_gb": settings.memory_gib, "slurm_partition": settings.partition,
                "slurm_account": settings.account, "slurm_constraint": settings.constraint,
                "slurm_setup": settings.setup.splitlines()}
    found |= {name: value for name, value in optional.items() if value}
    if after:  # what waits for a preparation that fails would wait for ever
        found |= {"slurm_dependency": f"afterok:{after}",
                  "slurm_additional_parameters": {"kill-on-invalid-dep": "yes"}}
    return found
