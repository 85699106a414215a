"""A run that was interrupted anywhere goes on to the same curve, adapters and tables."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest

from baselines.registry import METHODS
from benchmark.core.meter import Meter
from benchmark.run.loop import RunInProgress, execute
from benchmark.run.store import RunStore
from tests.benchmark.reporting.outcomes import of_run

STOPS = (1, 3, 5)  # updates during whose log the run is interrupted


class Stopped(Exception):
    """Stands for a kill: nothing of the run's own code runs after it."""


@pytest.fixture
def interrupted(prepared, make_run, tmp_path):
    """``interrupted(method, stops, *assignments)`` → notes and store of a run that was stopped at each of ``stops``."""
    def go(method, stops, *assignments):
        store, notes = RunStore(tmp_path / f"{method}-stopped"), []
        run = make_run(method, "checkpoint_seconds=0", *assignments)
        start = replace(prepared, config=run.config)
        for stop in [*stops, None]:
            def report(state, stop=stop):
                if "note" in state:
                    notes.append(state["note"])
                    return
                if stop is not None and len(store.rows("updates.jsonl")) == stop:
                    raise Stopped

            if stop is None:
                execute(run, start, store, report)
                return notes, store
            with pytest.raises(Stopped):
                execute(run, start, store, report)

    return go


@pytest.fixture
def whole(prepared, make_run, tmp_path):
    def go(method, *assignments):
        store, run = RunStore(tmp_path / f"{method}-whole"), make_run(method, *assignments)
        execute(run, replace(prepared, config=run.config), store, lambda state: None)
        return store

    return go


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.group == "main"])
def test_an_interrupted_run_ends_as_one_that_was_not(method, interrupted, whole):
    settings = ("budget.limit=6", "iterations=3", "refine_pairs=4")
    notes, store = interrupted(method, STOPS, *settings)
    assert of_run(store) == of_run(whole(method, *settings))
    summary = store.summary()
    assert summary["resumed"] == {"count": 2, "after_updates": [2, 4]}  # before update 2 there is no checkpoint
    assert notes == ["goes on after update 2", "goes on after update 4"]
    assert sum(summary["ledgers"].values()) == pytest.approx(summary["wall_seconds"], rel=0.01)
    assert not store.checkpoints.folder.exists()


@pytest.mark.parametrize(("method", "settings"), [
    ("zopro-shuffled", ()),
    ("zopro-rewarm", ("budget.limit=8", "iterations=4")),  # stopped in the second warm start, too
    ("zopro-last-update", ()), ("meazo", ()), ("radazo-dpo", ()),
    ("rloo", ("rloo.epochs=2", "rloo.schedule=linear_iteration")),
    ("zopro", ("adapter.kind=full", "keep=curves", "zopro.epochs=2")),
    ("ppo", ("adapter.kind=norms",)),
    ("es", ()), ("grzo", ()), ("compo", ()), ("essa", ()),
])
def test_so_do_controls_schedules_epochs_and_runs_without_adapters(method, settings, interrupted, whole):
    settings = ("budget.limit=6", "iterations=3", "refine_pairs=4", *settings)
    _, store = interrupted(method, (3, 5), *settings)
    assert of_run(store) == of_run(whole(method, *settings))
    assert store.summary()["resumed"]["count"] == 2


@pytest.mark.parametrize("place", ["_refine", "_save", "_evaluate_if_due", "_record", "_summary", "_save_samples"])
def test_so_does_a_run_that_stopped_outside_an_update(place, prepared, make_run, whole, tmp_path, monkeypatch):
    """In the refinement, between iterations, before and in an evaluation, and after the last checkpoint; the policy is
    kept at every update, those after the checkpoint too."""
    settings = ("refine_pairs=4", "keep_every=1")
    run, store = make_run("ppo", *settings), RunStore(tmp_path / "run")
    prepared = replace(prepared, config=run.config)

    def stopped(self, *arguments):
        if self.meter.updates >= 3:
            raise Stopped
        return original(self, *arguments)

    original = getattr(RunInProgress, place)
    monkeypatch.setattr(RunInProgress, place, stopped)
    with pytest.raises(Stopped):
        execute(run, prepared, store, lambda state: None)
    monkeypatch.undo()
    execute(run, prepared, store, lambda state: None)
    assert of_run(store) == of_run(whole("ppo", *settings))
    assert sum("policy_update" in name for name in store.digests()) == 2  # the last of an iteration has its own file
    assert store.summary()["resumed"]["count"] == 1


@pytest.fixture
def stopped(prepared, make_run, tmp_path):
    """``stopped(update)`` → run and store, checkpoints after every update before ``update``."""
    def run(update, *assignments):
        store = RunStore(tmp_path / "stopped")
        run = make_run("dpo", "checkpoint_seconds=0", *assignments)

        def report(state):
            if "note" not in state and len(store.rows("updates.jsonl")) == update:
                raise Stopped

        with pytest.raises(Stopped):
            execute(run, prepared, store, report)
        return run, store

    return run


def damage(path, how):
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if how == "truncated" else bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("how", ["truncated", "altered", "removed"])
@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(name, how, stopped, prepared):
    run, store = stopped(4)
    newest, notes = max(store.checkpoints.folder.iterdir()), []
    damage(newest / name, how)
    saved = store.begin(*identity(run, store), notes.append)
    assert saved["meter"]["updates"] == 2 and len(store.rows("updates.jsonl")) == 2
    assert len(notes) == 1 and notes[0].startswith("checkpoint 4 is damaged and not used: ") and name in notes[0]
    assert not newest.exists()


def identity(run, store):
    environment = json.loads((store.folder / "environment.json").read_text())
    return {"run": run.identity(), "config": run.resolved()}, environment


@pytest.mark.parametrize("name", ["curve.jsonl", "updates.jsonl", "adapters/iteration_0/policy.safetensors"])
def test_a_checkpoint_whose_logs_or_adapters_were_altered_is_not_used(name, stopped, prepared, whole):
    run, store = stopped(3)
    notes = []
    damage(store.folder / name, "altered")
    execute(run, prepared, store, lambda state: notes.append(state.get("note")))
    told = [note for note in notes if note]
    assert [note.split(":")[0] for note in told] == [
        "checkpoint 3 is damaged and not used", "checkpoint 2 is damaged and not used", "no checkpoint can be used"]
    assert store.summary()["resumed"]["count"] == 0 and of_run(store) == of_run(whole("dpo"))


def test_a_checkpoint_of_other_versions_is_not_used(stopped, prepared):
    run, store = stopped(3)
    config, environment = identity(run, store)
    environment["workers"], environment["commit"], notes = 7, "another", []  # of the same code
    assert store.begin(config, environment, notes.append) is not None
    environment["packages"]["torch"], environment["code"] = "0.1", "another"
    assert store.begin(config, environment, notes.append) is None
    assert notes == ["its checkpoint was made in another environment (code, packages): the run starts anew"]
    assert not store.checkpoints.folder.exists()


def test_a_checkpoint_with_other_adapters_kept_is_not_used(stopped, prepared):
    run, store = stopped(3)
    config, environment = identity(run, store)
    config["config"]["execution"]["keep_every"], notes = 1, []
    assert store.begin(config, environment, notes.append) is None and "execution.keep_every" in notes[0]


def test_only_two_checkpoints_are_kept(stopped):
    _, store = stopped(4)
    assert [path.name for path in sorted(store.checkpoints.folder.iterdir())] == ["00000003", "00000004"]


def test_checkpoints_are_made_as_often_as_asked_and_after_every_iteration(prepared, make_run, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(RunInProgress, "_checkpoint", lambda self: made.append((self.iteration, self.begun)))
    for number, seconds in enumerate((0, 1000)):
        store = RunStore(tmp_path / str(number))
        execute(make_run("dpo", f"checkpoint_seconds={seconds}"), prepared, store, lambda state: None)
    assert made == [(0, True), (0, True), (1, False), (1, True), (1, True), (2, False),
                    (1, False), (2, False)]


def test_a_meter_goes_on_with_all_its_accounts():
    now = [0.0]
    first = Meter(lambda: now[0])
    with first.ledger("update"):
        now[0] += 5
        first.forward(10)
        first.generated(4)
        first.computed(7)
    first.updates = 3
    state = json.loads(json.dumps(first.state()))
    now[0] = 100.0
    second = Meter(lambda: now[0])
    with second.ledger("rollout"):  # what is built again is not charged to the method again
        now[0] += 2
    second.load_state(state)
    with second.ledger("update"):
        now[0] += 1
    assert second.spent() == {"forward_tokens": 10, "seconds": 6, "completions": 0, "updates": 3,
                              "generated_tokens": 4, "computed_tokens": 7}
    assert second.seconds["setup"] == 2 and second.close(3) == 8


def test_another_process_has_no_part_in_a_folder_that_is_worked_on(tmp_path):
    from benchmark.core.errors import Busy
    from benchmark.core.locks import holder, locked

    folder = tmp_path / "run"
    with locked(folder):
        assert holder(folder)
        with pytest.raises(Busy, match=rf"run: process {os.getpid()} on \S+ is w"), locked(folder, patience=0.2):
            pass
    assert holder(folder) is None and not (tmp_path / ".locks").exists()
    with locked(folder, patience=0):
        shutil.rmtree(tmp_path / ".locks")  # whatever happens to the file, the lock can be released
    assert holder(folder) is None


def test_a_report_says_that_runs_were_resumed(stopped, prepared, tmp_path):
    from benchmark.reporting.read import reader

    run, store = stopped(3)
    execute(run, prepared, store, lambda state: None)
    (tmp_path / "out").mkdir()
    store.folder.rename(tmp_path / "out" / run.name)
    assert ("1 of 1 runs were interrupted and resumed: their seconds leave out what was done twice."
            in reader.read(tmp_path / "out").cautions())
