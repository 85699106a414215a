"""Every registered method on a toy task: finite, moves, within budget, charged as counted by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch

from baselines import hyperparameters as hp
from baselines.contract import Context
from baselines.objectives.dpo import DPO
from baselines.registry import METHODS, get_method, method_groups
from benchmark.core.errors import ConfigError
from benchmark.core.meter import Meter
from benchmark.run.loop import RunInProgress, execute
from benchmark.run.prepared import Prepared
from benchmark.run.store import RunStore
from tests.benchmark.core.directory import unlike

MAIN = method_groups()["main"]


@pytest.fixture
def run_method(prepared, make_run, tmp_path):
    def run(method, *assignments, name="run", seed=0):
        store = RunStore(tmp_path / name)
        return execute(make_run(method, *assignments, seed=seed), prepared, store, lambda state: None), store

    return run


def lines(store, name):
    return [json.loads(line) for line in (store.folder / name).read_text().splitlines()]


@pytest.mark.parametrize("method", MAIN)
def test_a_method_moves_the_policy_within_its_budget(method, run_method):
    summary, store = run_method(method)
    assert summary["status"] == "done" and store.done
    assert summary["spent"]["updates"] == 4 and summary["overshoot"]["amount"] == 0
    curve = lines(store, "curve.jsonl")
    assert [(row["split"], row["fraction"]) for row in curve] == [
        ("validation", 0.0), ("test", 0.0), ("validation", 0.5), ("validation", 1.0), ("test", 1.0)]
    assert all(math.isfinite(value) for row in curve for value in row["metrics"].values())
    assert curve[-1]["metrics"]["kl"] > (-1e-5 if method.startswith("mezo") else 0)  # MeZO hardly moves
    for iteration in range(2):
        assert any(update.norm() > 0 for update in store.policy_update(iteration).values())
        assert any(update.norm() > 0 for update in store.reward_update(iteration).values())
    updates = lines(store, "updates.jsonl")
    assert len(updates) == 4 and all(math.isfinite(row["loss"]) for row in updates)
    assert sum(summary["ledgers"].values()) == pytest.approx(summary["wall_seconds"], rel=0.01)
    assert unlike(store.folder) == []


@pytest.mark.parametrize("method", MAIN)
def test_the_same_seed_gives_the_same_curve_and_another_does_not(method, run_method):
    def curve(name, seed):
        _, store = run_method(method, name=name, seed=seed)
        return [(row["split"], row["update"], row["spent"]["forward_tokens"], row["metrics"])
                for row in lines(store, "curve.jsonl")], store.policy_update(1)

    (first, update), (again, same) = curve("one", 0), curve("two", 0)
    assert first == again
    assert all(torch.equal(update[name], same[name]) for name in update)
    assert curve("three", 1)[0] != first


def test_all_methods_start_at_the_same_point(run_method):
    starts = []
    for method in (name for name, row in METHODS.items() if row.group != "zo-full"):  # those refuse the adapter
        _, store = run_method(method, "budget.limit=1", "evaluation.points=1", "loop.iterations=1", name=method)
        starts.append([row["metrics"] for row in lines(store, "curve.jsonl")[:2]])
        assert unlike(store.folder) == []
    assert all(start == starts[0] for start in starts)


@pytest.mark.parametrize(("kind", "limit"), [("forward_tokens", 2000), ("completions", 20), ("seconds", 0.3)])
def test_the_overshoot_is_at_most_one_update(kind, limit, run_method):
    summary, store = run_method("rloo", f"budget.kind={kind}", f"budget.limit={limit}")
    spent = [row["spent"][kind] for row in lines(store, "updates.jsonl")]
    assert spent[-1] >= limit and all(value < limit for value in spent[:-1])
    assert summary["overshoot"]["amount"] == pytest.approx(spent[-1] - limit)


def test_zopro_is_first_order_before_and_zeroth_order_after_its_warm_start(run_method):
    summary, store = run_method("zopro")
    updates = lines(store, "updates.jsonl")
    assert ["gradient_norm" in row for row in updates] == [True, True, False, False]
    assert ["slope" in row for row in updates] == [False, False, True, True]
    peaks = summary["peak_memory_mib"]
    assert set(peaks) == {"loaded", "warm_start", "optimisation"} and peaks["loaded"] <= min(peaks.values())


def test_offline_dpo_is_charged_for_its_reference_once_per_pair(run_method, prepared):
    """200 rows give more pairs than one update takes: every pair is new, so reference + forward + backward each."""
    _, store = run_method("dpo", "budget.limit=1", "evaluation.points=1", "loop.iterations=1")
    row = lines(store, "updates.jsonl")[0]
    policy = prepared.policy(Meter(), 0)
    objective = DPO(Context(policy, None, None, prepared.data.pairs, 8, 1.0, 0), hp.DPOSettings())
    batch = objective.collect()
    tokens = sum(int(part.mask.sum()) for part in batch.parts)
    assert row["spent"]["forward_tokens"] == pytest.approx(tokens * (3 + policy.trained), rel=1e-6)
    assert row["spent"]["completions"] == 0


def test_rloo_and_mezo_are_charged_what_is_counted_by_hand(run_method, prepared):
    """Generation 1, reference 1, reward its share; then 2 + trained with backpropagation, 2 with two forwards."""
    meter = Meter()
    policy = prepared.policy(meter, 0)
    share = prepared.reward(meter, 0, policy=policy).share
    spent = {}
    for method in ("rloo", "mezo"):
        _, store = run_method(method, "budget.limit=1", "evaluation.points=1", "loop.iterations=1", "k=2", name=method)
        spent[method] = lines(store, "updates.jsonl")[0]["spent"]["forward_tokens"]
    tokens = spent["mezo"] / (1 + 1 + share + 2)
    assert tokens == pytest.approx(round(tokens), abs=1e-3)  # a whole number of tokens
    assert spent["rloo"] == pytest.approx(tokens * (1 + 1 + share + 2 + policy.trained), abs=0.1)


def test_a_divergent_run_is_a_result_with_a_word(run_method):
    summary, store = run_method("mezo", "mezo.lr=1e30", "budget.limit=4")
    assert summary["status"] == "diverged" and summary["final"] is None and store.done
    assert "Lower the learning rate" in summary["warnings"][0] or "Lower lr" in summary["warnings"][0]


def test_a_registry_row_checks_its_hyperparameters():
    with pytest.raises(ConfigError, match="Did you mean epsilon"):
        get_method("mezo").check({"epsilom": 1}, "profile")
    with pytest.raises(ConfigError, match="Did you mean zopro"):
        get_method("zopo")


def test_every_loss_and_variant_runs(run_method):
    for index, assignment in enumerate(("dpo.loss=ipo_mean", "dpo.loss=discopop")):
        summary, _ = run_method("dpo", assignment, "budget.limit=2", name=f"dpo{index}")
        assert summary["status"] == "done"
    for index, assignment in enumerate(("zopro.decay=exp", "zopro.project=false", "zopro.match_norm=false")):
        summary, _ = run_method("zopro", assignment, name=f"zopro{index}")
        assert summary["status"] == "done"


def test_keep_close_halves_the_reward_models_step(run_method):
    _, whole = run_method("rloo", name="whole")
    _, close = run_method("rloo", "keep_close=0.5", name="close")
    for name, update in whole.reward_update(0).items():
        assert torch.allclose(close.reward_update(0)[name], update / 2, atol=1e-6)


NORM = ("adapter.kind=norms", r"adapter.only=^model\.norm\.", "rloo.lr=0.1", "ppo.lr=0.1", "zopro.warm_start_lr=0.1",
        "zopro.lr=1e3", "mezo.lr=1e3")  # its few numbers take, and need, long steps


@pytest.mark.parametrize("chosen", [("adapter.kind=full",), NORM], ids=["full", "final norm"])
@pytest.mark.parametrize("method", ["rloo", "ppo", "mezo", "zopro"])
def test_every_parameter_is_trained_or_one_norm(method, chosen, toy_folder, make_run, tmp_path):
    """The start is the same for whatever is trained. All parameters: a backward pass costs two forwards."""
    run, store = make_run(method, *chosen), RunStore(tmp_path / method)
    execution = RunInProgress(run, Prepared(toy_folder, run.config, run.task), store, lambda state: None)
    who = execution.who
    width, parameters = run.config.model.hidden_size, who.policy.parameters
    size = sum(p.numel() for p in who.policy.model.parameters())
    assert who.policy.trained == pytest.approx(1 if chosen != NORM else width / size)
    evaluated = who.evaluator.evaluate(who.policy, who.reward, "test")
    assert evaluated == pytest.approx(who.starts["test"].metrics) and evaluated["kl"] == 0
    store.start({}, {})
    summary = execution.execute().as_row()
    assert summary["status"] == "done" and summary["final"]["test"]["kl"] > 0
    assert summary["trained_parameters"] == (width if chosen == NORM else size)
    for update in (store.policy_update(0), store.policy_update(1)):
        assert update.keys() == parameters.keys() and any(value.norm() > 0 for value in update.values())
    assert ("model.embed_tokens.weight" in parameters) == (chosen != NORM)
    assert store.reward_update(1).keys() == {*parameters, "score.weight"}
