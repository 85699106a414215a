"""Runs in trackers: what each is told, and nothing of the machine. The real ones where they are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from benchmark import read_runs
from benchmark.cli import main
from benchmark.reporting import trackers
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.test_frames import ABLATION

RUN = "hh_rlhf__zopro__s0__"


@pytest.fixture
def folder(tmp_path):
    """Runs, one of which kept its log of updates."""
    shutil.copytree(make.RUNS, tmp_path / "runs")
    shutil.copy(next(ABLATION.glob("*zopro__s0*/updates.jsonl")), next((tmp_path / "runs").glob(f"{RUN}*")))
    return tmp_path / "runs"


class StandIn(ModuleType):
    """The interface that wandb and trackio share; as they do, it refuses steps that go back."""

    def __init__(self, name):
        super().__init__(name)
        self.runs, self.open = {}, None

    def Settings(self, *, console, disable_git, save_code, x_disable_meta, x_disable_stats, x_disable_machine_info):
        assert console == "off" and disable_git and x_disable_meta and x_disable_stats and x_disable_machine_info
        return SimpleNamespace()

    def init(self, *, project, name, group, config, id=None, job_type=None, dir=None, settings=None, embed=True,
             auto_log_cpu=None, auto_log_gpu=None):
        assert self.open is None and (settings is None) == (self.__name__ == "trackio")
        json.dumps(config)
        self.open = self.runs[name] = SimpleNamespace(project=project, group=group, config=config, id=id, points=[])

    def log(self, data, step):
        assert not self.open.points or step > self.open.points[-1][0]
        self.open.points.append((step, dict(data)))

    def finish(self):
        self.open = None


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_a_tracker_is_told_of_every_evaluation_and_update(kind, folder, monkeypatch, capsys):
    tracker = StandIn(kind)
    monkeypatch.setitem(sys.modules, kind, tracker)
    assert main(["export", str(folder), "--to", kind, "--project", "mine"]) == 0
    assert f"10 runs exported to {kind}" in capsys.readouterr().out
    runs = read_runs(folder)
    assert set(tracker.runs) == set(runs.summaries()["run"]) and tracker.open is None
    curves, updates = runs.curves(), runs.updates()
    for name, run in tracker.runs.items():
        assert (run.project, run.group) == ("mine", name.split("__")[0])
        assert run.id == (name if kind == "wandb" else None)
        own = curves[curves.run == name]
        for split in ("validation", "test"):
            rows = own[own.split == split]
            told = {step: values[f"{split}/reward"] for step, values in run.points if f"{split}/reward" in values}
            wanted = dict(zip(rows["spent.forward_tokens"].astype(int), rows["metrics.reward"], strict=True))
            assert told == {step: reward for step, reward in wanted.items() if reward == reward}
        assert sum("update/loss" in values for _, values in run.points) == len(updates[updates.run == name])
    (name,) = (name for name in tracker.runs if name.startswith(RUN))
    config = tracker.runs[name].config
    assert config["method"] == "zopro" and config["seed"] == 0 and config["adapter.rank"] == 8
    assert str(folder.parent) not in json.dumps([vars(run) for run in tracker.runs.values()])


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_there_is_named_with_the_remedy(kind, folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if kind == "tensorboard" else kind, None)
    assert main(["export", str(folder), "--to", kind]) == 2
    said = capsys.readouterr().err
    assert f"'.[{kind}]'" in said and ("-c constraints.txt" in said) == (kind != "trackio")


def test_a_project_is_a_plain_name(folder, capsys):
    assert main(["export", str(folder), "--to", "trackio", "--project", "../other"]) == 2
    assert "--project" in capsys.readouterr().err


def test_tensorboard_reads_what_was_written(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second replaces the first
        assert main(["export", str(folder), "--to", "tensorboard"]) == 0
    out = folder / "export" / "tensorboard"
    assert len(list(out.iterdir())) == 10
    assert {path.name for path in out.glob("*/*")} == {f"{trackers.RENAMED}.0"}
    (place,) = out.glob(f"{RUN}*")
    read = EventAccumulator(str(place), {"scalars": 0}).Reload()
    curves = read_runs(folder).curves().query(f"run == '{place.name}' and split == 'validation'")
    events = read.Scalars("validation/reward")
    assert [event.step for event in events] == curves["spent.forward_tokens"].tolist()
    assert [event.value for event in events] == pytest.approx(curves["metrics.reward"].tolist())
    assert [event.wall_time for event in events] == pytest.approx(curves["spent.seconds"].tolist())


def real(kind, folder, tmp_path):
    """Export in a process of its own, without network."""
    return subprocess.run([sys.executable, "-m", "benchmark", "export", str(folder), "--to", kind], text=True,
                          capture_output=True, timeout=250, env=os.environ | {
                              "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1",
                              "HOME": str(tmp_path)})


def only_one(folder):
    for path in folder.glob("*__s*"):
        if not path.name.startswith(RUN):
            shutil.rmtree(path)


def test_wandb_takes_a_run_offline(folder, tmp_path):
    pytest.importorskip("wandb")
    only_one(folder)
    done = real("wandb", folder, tmp_path)
    assert done.returncode == 0, done.stderr
    (written,) = (folder / "export" / "wandb").glob("offline-run-*/*.wandb")
    said = written.read_bytes()
    assert b"validation/reward" in said and b"update/loss" in said
    assert str(tmp_path).encode() not in said


def test_trackio_takes_a_run(folder, tmp_path):
    pytest.importorskip("trackio")
    import sqlite3

    only_one(folder)
    done = real("trackio", folder, tmp_path)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "trackio" / "zo-benchmark.db") as base:
        rows = [json.loads(metrics) for (metrics,) in base.execute("SELECT metrics FROM metrics ORDER BY step")]
    wanted = read_runs(folder).curves().query("split == 'validation'")["metrics.reward"].tolist()
    assert [row["validation/reward"] for row in rows if "validation/reward" in row] == pytest.approx(wanted)
