"""Preparations in the cache: keyed by all that changes them and by nothing else, and at home wherever they are put."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest

from benchmark.core import provenance
from benchmark.core.sections import SECTIONS
from benchmark.grid.jobs import Preparation, RunJob, jobs_for
from benchmark.run import prepared as prepared_module
from benchmark.run.loop import execute
from benchmark.run.prepared import COMPUTED_WITH, Prepared, preparation_folder, preparation_key
from benchmark.run.store import RunStore
from tests.conftest import TASK

VERSIONS = {"task_version": "1.0", "revision": "abc"}
FIELDS = [(section, field) for section, cls in SECTIONS.items() for field in dataclasses.fields(cls)]
# Fields of the sections that a preparation is made from, which still do not change it.
FREE = {("data", "folder"), ("data", "max_rejected"), ("adapter", "kind"), ("adapter", "only")}
# Fields of the other sections that do.
BOUND = {*(("evaluation", f"{split}_{what}") for split in ("validation", "test")
           for what in ("prompts", "completions")), *(("execution", name) for name in COMPUTED_WITH)}
MADE_FROM = {"data", "model", "adapter", "decoding", "sft", "reward_model", "judge"}


def key(config, task=TASK, seed=0, versions=VERSIONS):
    return preparation_key(config, task, seed, versions)


def another(field, value):
    if field.metadata["choices"]:
        return next(choice for choice in field.metadata["choices"] if choice != value)
    if isinstance(value, bool):
        return not value
    return f"{value}x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value / 2 or 0.5


@pytest.mark.parametrize(("section", "field"), FIELDS, ids=[f"{section}.{field.name}" for section, field in FIELDS])
def test_each_field_moves_the_key_if_and_only_if_it_moves_the_content(toy_config, section, field):
    values = getattr(toy_config, section)
    changed = dataclasses.replace(values, **{field.name: another(field, getattr(values, field.name))})
    place = (section, field.name)
    matters = place in BOUND or (section in MADE_FROM and place not in FREE)
    assert (key(dataclasses.replace(toy_config, **{section: changed})) != key(toy_config)) is matters


def test_which_of_several_devices_is_used_does_not_move_the_key(toy_config):
    on = [key(dataclasses.replace(toy_config, execution=dataclasses.replace(toy_config.execution, device=device)))
          for device in ("cuda", "cuda:1", "cpu")]
    assert on[0] == on[1] != on[2]


def test_what_else_moves_the_key_and_what_does_not(toy_config, monkeypatch):
    first = key(toy_config)
    assert key(dataclasses.replace(toy_config, profile="other", methods={"rloo": {"lr": 1.0}})) == first
    others = [key(toy_config, task="hh_rlhf"), key(toy_config, seed=1),
              key(toy_config, versions={**VERSIONS, "revision": "abd"}),
              key(toy_config, versions={**VERSIONS, "task_version": "1.1"}),
              key(toy_config, versions={**VERSIONS, "model_digest": "0"})]
    monkeypatch.setattr(prepared_module, "VERSION", "x")
    others.append(key(toy_config))
    monkeypatch.undo()
    monkeypatch.setattr(provenance, "packages", lambda: {"transformers": "0"})
    others.append(key(toy_config))
    assert len({first, *others}) == 1 + len(others)


def digests(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}


def rows(store):
    """Evaluations and updates without their times."""
    found = []
    for name in ("curve.jsonl", "updates.jsonl"):
        for line in (store.folder / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row.pop("ledgers", None)
            row["spent"].pop("seconds")
            found.append(row)
    return found


def test_a_preparation_copied_elsewhere_is_used_as_it_is_and_gives_the_same_run(toy_folder, make_run, tmp_path):
    run = make_run("rloo", "budget.limit=2")
    cache = tmp_path / "another machine" / "cache"
    moved = preparation_folder(run, cache)
    shutil.copytree(toy_folder, moved)
    (job,) = jobs_for([run], tmp_path / "out", cache)
    assert isinstance(job, RunJob) and job.preparation == moved
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    before = digests(moved)
    execute(run, Prepared(toy_folder, run.config, run.task), here, lambda state: None)
    execute(run, Prepared(moved, run.config, run.task), there, lambda state: None)
    assert rows(here) == rows(there) and len(rows(here)) > 4
    assert here.digests() == there.digests()
    assert digests(moved) == before == digests(toy_folder)


def test_another_key_is_another_preparation(toy_folder, make_run, tmp_path):
    run = make_run("rloo", "sft.steps=11")
    shutil.copytree(toy_folder, preparation_folder(make_run("rloo"), tmp_path))
    first, second = jobs_for([run], tmp_path / "out", tmp_path)
    assert isinstance(first, Preparation) and second.preparation == first.folder
