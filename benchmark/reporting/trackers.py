"""Finished runs in the trackers of others: TensorBoard, Weights & Biases, Trackio. Each is an optional extra of its
name, imported when it is asked for."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.fields import flat
from benchmark.core.paths import check_plain, own_folder
from benchmark.core.records import UpdateRow
from benchmark.reporting.read import schema
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun, number

RENAMED = "events.out.tfevents.0"  # TensorBoard looks for this; its own names hold those of the machine and the process


@dataclass(frozen=True)
class Series:
    """A run as trackers want it.

    Attributes:
        settings: dotted name → value: which run it is, its configuration and hyperparameters, how it ended.
        points: (step, seconds, name → finite value) in the order of steps. The step is the forward tokens that the
            method had spent by then, since methods are compared by them; seconds are those that it had spent.
    """

    run: FinishedRun
    settings: dict[str, Any]
    points: list[tuple[int, float, dict[str, float]]]


def series(run: FinishedRun, folder: Path) -> Series:
    """``run`` of the result folder ``folder``: evaluations as ``validation/reward``, updates as ``update/loss``.

    Raises:
        BenchmarkError: its log of updates cannot be read; names file and line.
    """
    rows: list[tuple[Any, str, Mapping[str, Any]]] = [(row.spent, row.split, row.metrics) for row in run.curve]
    rows += [(row.spent, "update", row.figures)
             for row in schema.read_lines(UpdateRow, folder / run.name / "updates.jsonl")]
    points: dict[int, tuple[float, dict[str, float]]] = {}
    for spent, kind, figures in rows:
        step, seconds = int(number(spent.forward_tokens) or 0), number(spent.seconds) or 0.0
        named = {f"{kind}/{name}": value for name, value in figures.items()} | {
            f"spent/{name}": value for name, value in vars(spent).items()}
        before, values = points.setdefault(step, (seconds, {}))
        points[step] = max(before, seconds), values | {
            name: found for name, value in named.items() if (found := number(value)) is not None}
    settings = {"task": run.task, "method": run.method, "seed": run.seed, "profile": run.identity.profile,
                "protocol": run.identity.protocol, "status": run.summary.status, **flat(run.settings)}
    return Series(run, settings, [(step, *points[step]) for step in sorted(points)])


def track(results: Results, folder: Path, kind: str, project: str) -> list[Path]:
    """Hand every run over; returns the folder that was written, if one was. TensorBoard and Weights & Biases replace a
    run that they have already; Trackio keeps both.

    Args:
        kind: tensorboard, wandb or trackio. With ``wandb`` and ``trackio`` the user's own login and environment
            variables say where runs go (``WANDB_MODE=offline`` keeps them in ``folder/export/wandb``).
        project: its name there.

    Raises:
        ConfigError: the tracker is not installed, or ``project`` is no plain name.
        BenchmarkError: a log cannot be read.
    """
    check_plain(project, "--project")
    module = _import("torch.utils.tensorboard" if kind == "tensorboard" else kind, kind)
    out = own_folder(folder, "export")
    found = [series(run, folder) for task in results.tasks for run in results.of(task)]
    for one in found:
        if kind == "tensorboard":
            _write_events(module, one, own_folder(out, kind))
        else:
            _log(module, one, project, OPTIONS[kind](module, one, out))
    return [] if kind == "trackio" else [out / kind]


def _import(name: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pins = "" if kind == "trackio" else "-c constraints.txt "  # it wants an older pillow than is pinned
        raise ConfigError(f"export --to {kind}: {kind} cannot be imported ({error}). Install it: pip install {pins}-e "
                          f"'.[{kind}]'.") from None


def _write_events(tensorboard: ModuleType, one: Series, out: Path) -> None:
    """A folder of events a run, without the machine's name; its clock is that of the run."""
    folder = out / one.run.name
    if folder.is_dir():
        shutil.rmtree(folder)
    writer = tensorboard.SummaryWriter(str(folder))
    writer.add_text("settings", f"```json\n{json.dumps(one.settings, indent=1, sort_keys=True)}\n```", walltime=0)
    for step, seconds, values in one.points:
        for name, value in values.items():
            writer.add_scalar(name, value, step, walltime=seconds)
    writer.close()
    for number_of, path in enumerate(sorted(folder.glob("*tfevents*"))):
        path.rename(folder / f"{RENAMED}.{number_of}")


def _wandb_options(wandb: ModuleType, one: Series, out: Path) -> dict[str, Any]:
    """The run's own name as its id, by which it is replaced; no code, output or load of this machine beside it."""
    settings = wandb.Settings(console="off", disable_git=True, save_code=False, x_disable_meta=True,
                              x_disable_stats=True, x_disable_machine_info=True)
    return {"id": one.run.name, "job_type": one.run.method, "dir": str(out), "settings": settings}


def _trackio_options(trackio: ModuleType, one: Series, out: Path) -> dict[str, Any]:
    return {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}


OPTIONS = {"wandb": _wandb_options, "trackio": _trackio_options}


def _log(tracker: ModuleType, one: Series, project: str, options: dict[str, Any]) -> None:
    tracker.init(project=project, name=one.run.name, group=one.run.task, config=one.settings, **options)
    for step, _, values in one.points:
        tracker.log(values, step=step)
    tracker.finish()
