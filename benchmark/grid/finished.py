"""Finished runs taken up again: which ones a folder holds, and the preparation that they started from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from baselines.registry import get_method
from benchmark.core.errors import ConfigError
from benchmark.core.paths import within
from benchmark.grid.display import Display
from benchmark.grid.jobs import Preparation, as_configured
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run, load_run, model_digests
from benchmark.run.prepared import Prepared, preparation_folder
from benchmark.run.store import RunStore


def finished_runs(folder: Path, tasks: list[str], methods: list[str], seeds: list[int] | None,
                  trust_remote_code: bool = False) -> list[tuple[Run, RunStore]]:
    """Finished runs of ``folder`` that match, in the order of ``tasks``, then seeds, then ``methods``.

    Args:
        trust_remote_code: as for :func:`benchmark.plan.run.load_run`.

    Raises:
        BenchmarkError: there is none, one cannot be read, or one leads out of the folder.
    """
    stores = [RunStore(within(folder, path)) for path in sorted(folder.glob("*__*__s*__*"))]
    found = [(load_run(store.folder, trust_remote_code), store) for store in stores if store.done]
    found = [(run, store) for run, store in found if run.task in tasks and get_method(run.method).name in methods
             and (seeds is None or run.seed in seeds)]
    if not found:
        raise ConfigError(f"{folder}: no finished run of {', '.join(methods)} on {', '.join(tasks)} there. Pass the "
                          f"--out folder of a run command.")
    return sorted(found, key=lambda item: (tasks.index(item[0].task), item[0].seed,
                                           methods.index(get_method(item[0].method).name)))


def with_models(run: Run, model: str | None, judge: str | None) -> Run:
    """``run`` with the folders of its model and of its judging language model on this machine.

    A run's files name a folder, not where it lies.

    Raises:
        ConfigError: a folder holds another model than the run had, or the plugin another judge.
    """
    config = run.config
    for section, place in (("model", model), ("judge", judge)):
        if place is not None:
            config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), path=place)})
    found = dataclasses.replace(run, config=config)
    digests = {**run.versions, **model_digests(config)}
    if found.hash != run.hash or digests != run.versions:
        raise ConfigError(f"{run.name} had another model or judge than those in --model {model}, --judge {judge} or "
                          f"the plugin: pass the folders of that run, under the names they had, and its plugin.")
    return found


def config_to_prepare(run: Run, data: str | None) -> Config:
    """The configuration from which the preparation of ``run`` can be made anew.

    Args:
        data: folder of the raw files, for runs on local files; ConfigError if they need it and it is not given.
    """
    if run.config.data.source == "local" and data is None:
        raise ConfigError(f"{run.name} was made from local files, and its preparation is not in --cache: pass --data.")
    return dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, folder=data or ""))


def prepared_for(run: Run, cache: Path, data: str | None) -> Prepared:
    """The preparation of ``run``, from ``cache``; made anew from its rows, in this process, if it is not there.

    Args:
        data: as for :func:`config_to_prepare`, as are the errors.
    """
    folder = preparation_folder(run, cache)
    if not (folder / "preparation.json").is_file():
        config = config_to_prepare(run, data)
        job = Preparation(run.task, run.seed, folder, config, run.start_versions)
        as_configured(config.execution)
        with Display([job], "what these runs started from") as display:
            display.started(job)
            job.execute(lambda state: display.progress(job, state))
    return Prepared(folder, run.config, run.task)
