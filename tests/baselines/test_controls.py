"""The controls of the ablation: each is ZOPrO with exactly one thing changed, and does what its name says."""

from __future__ import annotations

import json

import pytest
import torch

from baselines.objectives.rloo import RLOO, ShuffledRLOO
from baselines.registry import METHODS, get_method, method_groups
from benchmark.commands.options import names
from benchmark.plan.resolve import load_profile, with_assignments
from benchmark.run.loop import execute
from benchmark.run.store import RunStore

CHANGES = {  # control → the hyperparameters in which it differs from zopro under the profile tiny
    "zopro-warm-start": {"lr"}, "zopro-previous": {"decay", "initial_weight"},
    "zopro-random": {"decay", "initial_weight"}, "zopro-no-projection": {"project"},
    "zopro-no-norm-matching": {"match_norm", "lr", "epsilon"}, "zopro-shuffled": set(),
    "zopro-last-update": set(), "zopro-start-norm": set(), "zopro-rewarm": set(), "zopro-scaled-lr": {"lr"},
    "zopro-off-previous": set(), "zopro-along-reward": set(), "zopro-plus-reward": set(),
}


@pytest.fixture
def run_control(prepared, make_run, tmp_path):
    def run(method):
        store = RunStore(tmp_path / method)
        summary = execute(make_run(method, "loop.iterations=3", "budget.limit=6"), prepared, store, lambda state: None)
        rows = [json.loads(line) for line in (store.folder / "updates.jsonl").read_text().splitlines()]
        return summary, store, rows

    return run


def moved(store, iteration):
    return any(update.norm() > 0 for update in store.policy_update(iteration).values())


def test_the_group_is_zopro_and_every_control():
    assert set(method_groups()["ablation"]) == {"zopro", "zopro-published", "frozen", "mezo-warm", *CHANGES}
    assert set(method_groups()["main"]).isdisjoint(CHANGES)
    groups = method_groups()
    assert names(["ablation,rloo"], list(METHODS), "method", groups) == ["rloo", *[
        m for m in METHODS if m in groups["ablation"]]]


@pytest.mark.parametrize("control", CHANGES)
def test_a_control_differs_from_zopro_in_what_its_name_says(control):
    overrides = load_profile("tiny").methods
    ours, zopro = get_method(control).resolved(overrides), get_method("zopro").resolved(overrides)
    assert {key for key in zopro if ours[key] != zopro[key]} == CHANGES[control]


def test_a_control_follows_what_is_set_for_its_base_and_can_be_set_itself():
    config = with_assignments(load_profile("tiny"), ["zopro.epochs=3", "zopro.lr=7", "zopro-random.k=8"], [])
    assert get_method("zopro-random").resolved(config.methods)["epochs"] == 3
    assert get_method("zopro-random").resolved(config.methods)["k"] == 8
    assert get_method("zopro-warm-start").resolved(config.methods)["lr"] == 0  # what makes it a control stays


def test_the_published_preset_ignores_the_profile():
    published = get_method("zopro-published").resolved(load_profile("tiny").methods)
    assert published == get_method("zopro").resolved({})
    assert (published["lr"], published["epsilon"], published["decay"], published["k"]) == (1e-4, 1e-5, "linear", 2)


def test_warm_start_only_moves_in_the_first_iteration_only(run_control):
    summary, store, _ = run_control("zopro-warm-start")
    assert summary["status"] == "done" and [moved(store, i) for i in range(3)] == [True, False, False]


def test_previous_only_and_random_only_keep_their_weight(run_control):
    for control, weight in (("zopro-previous", 1.0), ("zopro-random", 0.0)):
        _, _, rows = run_control(control)
        assert {row["weight"] for row in rows if "weight" in row} == {weight}
        assert sum("weight" in row for row in rows) == 4


def test_mezo_warm_begins_as_zopro_does_and_goes_on_with_mezos_settings(prepared, make_run, tmp_path):
    """Bit for bit, though MeZO's schedule, k and epochs are set otherwise: what begins is ZOPrO."""
    values = ("loop.iterations=2", "zopro.k=4", "zopro.epochs=2", "zopro.schedule=linear", "mezo.k=2", "mezo.lr=1e-3",
              "mezo.epsilon=1e-2")
    rows, ends, starts = {}, {}, {}
    for method in ("zopro", "mezo-warm"):
        store = RunStore(tmp_path / method)
        execute(make_run(method, *values), prepared, store, lambda state: None)
        lines = (store.folder / "updates.jsonl").read_text().splitlines()
        rows[method] = [{key: row[key] for key in row if key != "spent"} for row in map(json.loads, lines)]
        folders = sorted((store.folder / "adapters").iterdir())
        starts[method], ends[method] = ([(file.name, file.read_bytes()) for file in sorted(folder.iterdir())]
                                        for folder in (folders[1], folders[2]))
    assert rows["zopro"][:2] == rows["mezo-warm"][:2] and "gradient_norm" in rows["zopro"][1]
    assert starts["zopro"] == starts["mezo-warm"] and ends["zopro"] != ends["mezo-warm"]
    assert [row["lr"] for row in rows["mezo-warm"][2:]] == [1e-3, 1e-3] and "weight" not in rows["mezo-warm"][2]


def test_a_frozen_policy_has_increased_nothing_to_the_last_digit(run_control):
    summary, store, _ = run_control("frozen")
    assert not any(moved(store, i) for i in range(3))
    for split in ("validation", "test"):  # apart from the current reward model's score, which is refined
        same = summary["initial"][split].keys() - {"current_reward"}
        assert {k: summary["final"][split][k] for k in same} == {k: summary["initial"][split][k] for k in same}


def test_shuffled_advantages_are_the_same_numbers_on_other_rows(prepared, make_run):
    from benchmark.core.meter import Meter
    from benchmark.run.participants import Participants

    batches = {}
    for method, kind in (("zopro", RLOO), ("zopro-shuffled", ShuffledRLOO)):
        who = Participants(make_run(method), prepared, Meter())
        assert type(who.objective) is kind
        batches[method] = [who.objective.collect().values["advantages"] for _ in range(2)]
    for plain, shuffled in zip(batches["zopro"], batches["zopro-shuffled"], strict=True):
        assert not torch.equal(plain, shuffled)
        assert torch.equal(plain.sort().values, shuffled.sort().values)
