"""A preparation that was interrupted anywhere ends with the same files; a training goes on from its checkpoint."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from benchmark.core import files
from benchmark.core.checkpoint import Checkpoints, Periodic
from benchmark.core.errors import BenchmarkError, DataError, StorageError
from benchmark.grid.jobs import Preparation
from benchmark.lm.training import RateSchedule, fit
from benchmark.plan.resolve import with_assignments
from benchmark.run.prepared import Prepared, preparation_key
from benchmark.start.build import prepare
from benchmark.start.stages import Stages
from tests.benchmark.reporting.outcomes import of_preparation

TASK = "wmt20_mlqe"


class Stopped(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def config(toy_config):
    return with_assignments(toy_config, ["sft.steps=4", "reward_model.steps=3", "judge.kind=reward_model",
                                         "judge.steps=3", "checkpoint_seconds=0", "sft.parameters=lora",
                                         "adapter.dropout=0.2", "validation_prompts=3", "test_prompts=3"], [])


def build(config, toy_sources, folder, stop=None, notes=None):
    """Prepare; ``stop`` = (stage, share) at which it is interrupted."""
    def report(state):
        if "note" in state and notes is not None:
            notes.append(state["note"])
        if stop and state.get("stage") == stop[0] and state["share"] >= stop[1]:
            raise Stopped

    return prepare(folder, config, TASK, toy_sources[TASK].data, 0, report)


def test_an_interrupted_preparation_ends_with_the_same_files(config, toy_sources, tmp_path):
    whole = build(config, toy_sources, tmp_path / "whole").folder
    folder, notes = tmp_path / "stopped", []
    for stop in (("tokenizer", 0), ("SFT", 0.5), ("SFT", 1), ("reward model", 0.5), ("judge language", 0.6),
                 ("judge", 0.4), ("evaluation of the start", 0)):
        with pytest.raises(Stopped):
            build(config, toy_sources, folder, stop, notes)
        assert not folder.exists()
    build(config, toy_sources, folder, notes=notes)
    (files, info), (expected, expected_info) = of_preparation(folder), of_preparation(whole)
    assert [name for name in expected if files.get(name) != expected[name]] == [] and files.keys() == expected.keys()
    assert info == expected_info
    assert notes.count("tokenizer is kept") == 6 and notes.count("SFT is kept") == 4
    assert notes.count("judge language is kept") == 2 and notes.count("judge is kept") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]


def test_a_damaged_stage_is_named_and_done_again(config, toy_sources, tmp_path):
    folder, notes = tmp_path / "prepared", []
    with pytest.raises(Stopped):
        build(config, toy_sources, folder, ("reward model", 0.5))
    part = tmp_path / "prepared.part"
    model = part / "policy" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    (newest,) = sorted((part / "stages" / "reward model_checkpoints").iterdir())[-1:]
    (newest / "tensors.safetensors").write_bytes(b"")
    build(config, toy_sources, folder, notes=notes)
    assert "SFT is damaged and done again: model.safetensors does not match its checksum" in notes
    assert any(note.startswith("checkpoint 1 is damaged and not used: tensors.safetensors") for note in notes)


@pytest.mark.parametrize("name", ["reward/model.safetensors", "preparation.json", "data.json"])
def test_an_altered_preparation_is_named_and_never_used(name, toy_config, toy_folder, tmp_path):
    folder = tmp_path / toy_folder.name
    shutil.copytree(toy_folder, folder)
    Prepared(folder, toy_config, TASK)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(BenchmarkError, match=f"{folder.name}: altered .*{Path(name).name} does not match"):
        Prepared(folder, toy_config, TASK)
    (folder / name).unlink()
    with pytest.raises(BenchmarkError, match=f"{Path(name).name} is missing"):
        Prepared(folder, toy_config, TASK)


def test_rows_that_changed_since_the_command_began_are_not_prepared(toy_config, toy_sources, tmp_path):
    versions = {**toy_sources[TASK].versions(), "revision": "what the file held before"}
    with pytest.raises(DataError, match="have changed since the command began"):
        Preparation(TASK, 0, tmp_path / "prepared", toy_config, versions).execute(lambda state: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("full_at", [("SFT", 0.5), ("judge", 0.4)])
def test_a_full_disk_costs_a_preparation_one_interval(full_at, config, toy_sources, tmp_path, monkeypatch):
    """Whatever is written from then on fails; finished stages and checkpoints stay, and the files come out the same."""
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole, folder, notes = build(config, toy_sources, tmp_path / "whole").folder, tmp_path / "full", []
    with monkeypatch.context() as patch:
        def report(state):
            if state.get("stage") == full_at[0] and state["share"] >= full_at[1]:
                patch.setattr(files.os, "fsync", full)

        with pytest.raises(StorageError, match="No space left on device.*Free some space"):
            prepare(folder, config, TASK, toy_sources[TASK].data, 0, report)
    build(config, toy_sources, folder, notes=notes)
    assert "tokenizer is kept" in notes and ("SFT is kept" in notes) is (full_at[0] != "SFT")
    (found, _), (expected, _) = of_preparation(folder), of_preparation(whole)
    assert found == expected


def test_a_preparation_that_cannot_succeed_leaves_nothing(toy_config, toy_sources, tmp_path):
    config = with_assignments(toy_config, ["max_prompt_tokens=5", "long_prompts=drop"], [])
    with pytest.raises(DataError):
        build(config, toy_sources, tmp_path / "prepared")
    assert list(tmp_path.iterdir()) == []


def test_of_two_commands_one_prepares_and_the_other_waits(config, toy_sources, tmp_path):
    """The second one finds what the first has built, and builds nothing."""
    folder, stages, first = tmp_path / "prepared", [], threading.Event()

    def report(state):
        stages.append(state.get("stage"))
        first.set()

    def other():
        first.wait(60)
        Preparation(TASK, 0, folder, config).execute(lambda state: stages.append(state.get("stage")))

    thread = threading.Thread(target=other)
    thread.start()
    prepare(folder, config, TASK, toy_sources[TASK].data, 0, report)
    thread.join(120)
    assert not thread.is_alive() and stages.count("waiting for another command") == 1
    assert stages.count("tokenizer") == 1 and stages.count("evaluation of the start") == 1


def test_the_key_of_a_preparation_does_not_change_with_checkpoints(toy_config):
    def key(*assignments):
        return preparation_key(with_assignments(toy_config, list(assignments), []), TASK, 0, {})

    assert key("checkpoint_seconds=7") == key("workers=5") == key()
    assert len({key(), key("dropout=0.1"), key("sft.steps=2")}) == 3


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_training_goes_on_to_the_same_bits(stop, tmp_path):
    """AdamW with dropout: weights, moments, the position in the schedule and the reported loss."""
    def train(folder, stop=None):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 12))
        rows = torch.arange(72.0).view(6, 12).sin()

        def losses(step):
            if step == stop:
                raise Stopped
            yield (torch.nn.functional.dropout(weight, 0.5) * rows[step % 6]).sum().square()

        saving = Periodic(Checkpoints(folder), 0)
        return fit([weight], RateSchedule(8, 0.1), losses, "test", "x", saving), weight.detach()

    loss, weight = train(tmp_path / "whole")
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", stop)
    again, same = train(tmp_path / "stopped")
    assert again == loss and torch.equal(weight, same)
    assert torch.initial_seed() == torch.default_generator.initial_seed()


def test_dropout_has_a_stream_of_its_own(tmp_path):
    """Draws of others before it do not change a training, and it does not change theirs."""
    def train():
        weight = torch.nn.Parameter(torch.ones(12))
        fit([weight], RateSchedule(3, 0.1), lambda step: iter([torch.nn.functional.dropout(weight, 0.5).sum()]), "test",
            "x")
        return weight.detach()

    first = train()
    torch.rand(5)
    before = torch.get_rng_state()
    assert torch.equal(train(), first) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("lora", "full", "figure"), [("sft", "reward_model", "sft_loss"),
                                                      ("reward_model", "sft", "reward_loss")])
def test_dropout_acts_where_an_adapter_is_trained(lora, full, figure, toy_config, toy_sources, tmp_path):
    losses = [build(with_assignments(toy_config, [f"{lora}.parameters=lora", f"{full}.parameters=full",
                                                  f"adapter.dropout={dropout}"], []),
                    toy_sources, tmp_path / str(dropout)).info[figure] for dropout in (0.0, 0.2)]
    assert losses[0] != losses[1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="stages: cannot be written"):
        Stages(tmp_path / "file", 0, print)


def test_what_other_code_began_begins_anew(config, toy_sources, tmp_path, monkeypatch):
    folder, notes = tmp_path / "stopped", []
    with pytest.raises(Stopped):
        build(config, toy_sources, folder, ("reward model", 0.5))
    monkeypatch.setattr("benchmark.start.stages.code_digest", lambda rooms: "other")
    build(config, toy_sources, folder, notes=notes)
    assert "other code began it: it begins anew" in notes and not any("is kept" in note for note in notes)
