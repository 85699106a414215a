"""Whatever a run dies of is said in clear words, leaves what was done before intact, and stops no other run."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import benchmark.core.files
from baselines.estimators.backpropagation import Backpropagation
from baselines.objectives.dpo import DPO
from benchmark.core import checkpoint, locks
from benchmark.core.errors import StorageError
from benchmark.core.files import write_json
from benchmark.grid.executor import execute_jobs
from benchmark.grid.jobs import RunJob
from benchmark.grid.launchers import local
from benchmark.reporting import report
from benchmark.reporting.plots import write
from benchmark.run.judge import GoldJudge
from benchmark.run.store import RunStore
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.outcomes import of_run

GOES_ON = "the same command goes on from there"


class Watcher:
    def started(self, job): ...
    def progress(self, job, state): ...
    def ended(self, job, outcome): ...


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_after(calls, original, error=errno.ENOSPC):
    """``original``, which fails from its ``calls``-th call on."""
    made = []

    def call(*arguments, **options):
        made.append(1)
        if len(made) >= calls:
            raise OSError(error, os.strerror(error))
        return original(*arguments, **options)

    return call


@pytest.fixture
def job(make_run, toy_folder, tmp_path):
    def make(method, *assignments):
        run = make_run(method, "checkpoint_seconds=0", "refine_pairs=4", "points=1", *assignments)
        return RunJob(run, toy_folder, tmp_path / "out")

    return make


def carry_out(*jobs):
    return execute_jobs(list(jobs), local(0), Watcher())


@pytest.fixture
def whole(job, tmp_path):
    """What a run comes to on a machine without faults."""
    def finish(method, *assignments):
        good = job(method, *assignments)
        shutil.rmtree(good.store.folder, ignore_errors=True)
        assert not carry_out(good).failed
        return of_run(good.store)

    return finish


def error_of(job):
    return json.loads((job.store.folder / "error.json").read_text())


@pytest.mark.parametrize("calls", [1, 3, 6, 12, 20, 26, 30, 45, 60, 72])
def test_a_disk_that_fills_up_at_any_write_costs_one_interval_at_most(calls, job, whole, monkeypatch):
    faulty = job("dpo")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark.core.files.os, "fsync", failing_after(calls, os.fsync))
        outcome = carry_out(faulty)
    message = outcome.failed[faulty.name]
    assert "No space left on device" in message and "Free some space" in message and GOES_ON in message
    assert not faulty.store.done and not list(faulty.store.folder.rglob("*.part"))
    before = len(list(faulty.store.checkpoints.folder.glob("0*")))
    assert not carry_out(faulty).failed
    done = of_run(faulty.store)
    assert faulty.store.summary()["resumed"]["count"] == (before > 0)
    assert done == whole("dpo")


@pytest.mark.parametrize(("error", "words"), [
    (errno.EROFS, "Read-only file system"), (errno.EIO, "Input/output error"), (errno.EACCES, "Permission denied")])
def test_a_log_that_cannot_be_written_is_named(error, words, job, monkeypatch):
    faulty, original = job("rloo"), builtins.open

    def refusing(path, mode="r", *arguments, **options):
        if mode == "a" and Path(path).name == "updates.jsonl":
            raise OSError(error, os.strerror(error), str(path))
        return original(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refusing)
        message = carry_out(faulty).failed[faulty.name]
    assert f"{faulty.run.name}/updates.jsonl: cannot be written ({words})" in message and GOES_ON in message
    assert str(faulty.out) not in message
    assert error_of(faulty)["type"] == "StorageError" and error_of(faulty)["message"] == message


@pytest.mark.parametrize("error", [
    MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GiB)")])
def test_running_out_of_memory_says_what_to_make_smaller_and_stops_no_other_run(error, job, whole, monkeypatch):
    faulty, other, original = job("rloo"), job("dpo"), Backpropagation.step
    finished = job("mezo-dpo")
    assert not carry_out(finished).failed
    before = of_run(finished.store)

    def step(self, problem, progress):
        if not isinstance(problem.objective, DPO) and progress.run >= 0.5:
            raise error
        return original(self, problem, progress)

    monkeypatch.setattr(Backpropagation, "step", step)
    outcome = carry_out(faulty, other)
    assert set(outcome.done) == {other.name} and before == of_run(finished.store)
    message = outcome.failed[faulty.name]
    assert message.startswith("out of memory") and "Fewer --workers, a smaller execution.forward_batch" in message
    assert error_of(faulty)["type"] == "OutOfMemoryError"
    monkeypatch.undo()
    assert not carry_out(faulty).failed
    assert faulty.store.summary()["resumed"] == {"count": 1, "after_updates": [2]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_a_result_with_a_word(value, job, monkeypatch):
    wrong = job("dpo")
    original = DPO.loss
    monkeypatch.setattr(DPO, "loss", lambda self, batch: original(self, batch) * value)
    outcome = carry_out(wrong)
    summary = outcome.done[wrong.name]
    assert summary["status"] == "diverged" and summary["final"] is None
    assert "diverged: the gradient norm is nan" in summary["warnings"][0] and "Lower the" in summary["warnings"][0]


def test_a_policy_or_a_figure_that_is_not_finite_is_a_result_too(job, monkeypatch):
    wrong, other = job("rloo"), job("dpo")
    original = Backpropagation.step

    def step(self, problem, progress):
        update = original(self, problem, progress)
        if isinstance(problem.objective, DPO):
            return replace(update, figures={"gradient_norm": float("inf")})
        next(iter(self.parameters.values())).data.fill_(float("nan"))
        return update

    monkeypatch.setattr(Backpropagation, "step", step)
    outcome = carry_out(wrong, other)
    assert "the policy's probabilities are not finite" in outcome.done[wrong.name]["warnings"][0]
    assert outcome.done[other.name]["warnings"] == [
        "diverged: the update's gradient_norm is inf. Lower the learning rate."]


def test_a_dead_judge_is_named_and_the_run_goes_on_when_it_is_back(job, whole, monkeypatch):
    faulty = job("rloo")
    with monkeypatch.context() as patch:
        patch.setattr(GoldJudge, "prefer", lambda *_: 1 / 0)
        message = carry_out(faulty).failed[faulty.name]
    assert "the judge (GoldJudge) failed: ZeroDivisionError: division by zero" in message
    assert error_of(faulty)["type"] == "RunError"
    assert not carry_out(faulty).failed and faulty.store.summary()["resumed"]["count"] == 1
    assert not (faulty.store.folder / "error.json").exists()
    assert of_run(faulty.store) == whole("rloo")


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EACCES])
def test_a_checkpoint_that_cannot_be_opened_for_now_is_not_thrown_away(error, job, whole, monkeypatch):
    faulty = job("dpo")
    with monkeypatch.context() as patch:
        patch.setattr(benchmark.core.files.os, "fsync", failing_after(30, os.fsync))
        carry_out(faulty)
    before = sorted(path.name for path in faulty.store.checkpoints.folder.iterdir())

    def closed(folder):
        raise OSError(error, os.strerror(error), str(folder / "manifest.json"))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "read", closed)
        message = carry_out(faulty).failed[faulty.name]
    assert f"manifest.json: cannot be used ({os.strerror(error)})" in message and GOES_ON in message
    assert len(before) == 2 and before == sorted(path.name for path in faulty.store.checkpoints.folder.iterdir())
    assert not carry_out(faulty).failed and faulty.store.summary()["resumed"]["count"] == 1
    assert of_run(faulty.store) == whole("dpo")


def test_a_full_disk_is_known_by_its_words_too():
    """safetensors says what the system said, but not by its number."""
    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(StorageError, match=r"a\.safetensors: cannot be written .*Free some space"), \
            benchmark.core.files.writing(Path("run/a.safetensors")):
        raise error


def test_a_reward_model_that_cannot_be_refined_fails_with_the_stage(job, monkeypatch):
    faulty = job("rloo", "refine_lr=1e30", "refine_epochs=3")
    message = carry_out(faulty).failed.get(faulty.name, "")
    assert message.startswith("reward-model refinement: the loss is") and "Lower its learning rate" in message


def test_a_disk_that_fills_up_during_the_report_leaves_the_old_one(tmp_path, monkeypatch):
    shutil.copytree(make.RUNS, tmp_path / "out")
    monkeypatch.setattr(write, "write_all", lambda results, folder: [])
    folder = report(tmp_path / "out").folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(benchmark.core.files.os, "fsync", failing_after(9, os.fsync))
    with pytest.raises(StorageError, match=r"report/table_.*No space left on device"):
        report(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (tmp_path / "out" / ".locks").exists()


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    monkeypatch.setattr(benchmark.core.files.os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"a\.json: cannot be written \(No space left on device\)"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1} and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_lock_behind(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(locks.os, "write", full_disk)
        with pytest.raises(StorageError, match="No space left on device"), locks.locked(tmp_path / "run"):
            pass
    with locks.locked(tmp_path / "run", patience=0):
        assert locks.holder(tmp_path / "run")


def test_a_job_that_is_left_to_another_process_touches_nothing(job, monkeypatch):
    mine = job("dpo")
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    with locks.locked(mine.store.folder):
        outcome = carry_out(mine)
    assert "is working on it. Repeat the command when that has ended" in outcome.failed[mine.name]
    assert not mine.store.folder.exists()


def test_a_run_that_another_command_has_finished_is_taken_as_it_is(job):
    mine = job("dpo")
    first = carry_out(mine).done[mine.name]
    stamp = (mine.store.folder / "summary.json").stat().st_mtime_ns
    assert carry_out(mine).done[mine.name]["adapters"] == first["adapters"]
    assert (mine.store.folder / "summary.json").stat().st_mtime_ns == stamp


def test_what_a_run_that_was_killed_after_its_summary_left_is_removed(job):
    done = job("dpo", "keep=curves")
    assert not carry_out(done).failed
    store = RunStore(done.store.folder)
    store.save_adapters(0, {"a": torch.zeros(1)}, {"b": torch.zeros(1)})
    store.checkpoints.save({})
    store.tidy_finished()
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "config.json", "curve.jsonl", "environment.json", "samples.jsonl", "summary.json"]
