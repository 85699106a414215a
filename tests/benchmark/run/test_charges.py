"""What a run is charged: every method against a count by hand, and the edges of a budget under a fake clock."""

from __future__ import annotations

import json

import pytest

from benchmark.core.meter import Meter
from benchmark.run.loop import RunInProgress, execute
from benchmark.run.store import RunStore


@pytest.fixture
def spent(prepared, make_run, tmp_path):
    """``spent(method, updates, assignments…)`` → forward tokens after each update."""
    def run(method, updates, *assignments):
        store = RunStore(tmp_path / f"{method}{len(list(tmp_path.iterdir()))}")
        execute(make_run(method, f"budget.limit={updates}", "evaluation.points=1", *assignments), prepared, store,
                lambda state: None)
        rows = (store.folder / "updates.jsonl").read_text().splitlines()
        return [json.loads(row)["spent"]["forward_tokens"] for row in rows]

    return run


@pytest.fixture
def shares(prepared):
    """Of the policy that is trained, of the critic that is trained, and the reward model's size over the policy's."""
    policy = prepared.policy(Meter(), 0)
    return policy.trained, (reward := prepared.reward(Meter(), 0, policy=policy)).trained, reward.share


def test_every_method_is_charged_what_is_counted_by_hand(spent, shares):
    """In units of the T tokens of the same 8 completions (4 prompts × 2): generation 1, reference 1, r its share; an
    update 2 + trained by backpropagation, 2 by two forwards; PPO's critic reads once and learns."""
    trained, critic, share = shares
    one = ("loop.iterations=1", "k=2")
    rollout = 1 + 1 + share
    tokens = spent("mezo", 1, *one)[0] / (rollout + 2)
    assert tokens == pytest.approx(round(tokens), abs=1e-3) and tokens > 50
    for method, cost in {
        "rloo": rollout + 2 + trained,
        "online-dpo": rollout + 2 + trained,
        "ppo": rollout + share + (2 + trained) + share * (2 + critic),
        "zopro": rollout + 2 + trained,  # its warm start
    }.items():
        settings = one if method != "online-dpo" else one[:1]
        assert spent(method, 1, *settings)[0] == pytest.approx(tokens * cost, rel=1e-6), method


def test_more_updates_on_a_rollout_cost_the_update_alone(spent, shares):
    first, second = spent("rloo", 2, "loop.iterations=1", "k=2", "rloo.epochs=2")
    trained, _, share = shares
    assert second / first == pytest.approx(1 + (2 + trained) / (2 + share + 2 + trained), rel=1e-6)


def test_pairs_are_charged_their_reference_and_each_pass(spent, shares):
    """The same pairs (every one of them new): reference 1, then 2 + trained or 2."""
    trained, *_ = shares
    backward, forward = spent("dpo", 1, "loop.iterations=1")[0], spent("mezo-dpo", 1, "loop.iterations=1")[0]
    tokens = forward / 3
    assert tokens == pytest.approx(round(tokens), abs=1e-3)
    assert backward == pytest.approx(tokens * (3 + trained), rel=1e-6)


def test_a_summary_says_what_was_labelled_for_the_method(prepared, make_run, tmp_path):
    """DPO goes on in a second pass over its pairs where the budget lasts; the judge labels for every refinement."""
    pairs, updates = len(prepared.data.pairs), 2
    size = pairs  # sequences are twice as many: an update is a pass
    settings = (f"loop.sequences_per_update={2 * size}", f"budget.limit={updates}", "loop.iterations=2",
                "loop.refine_pairs=3", "evaluation.points=1")
    said = {}
    for method in ("dpo", "rloo"):
        part = settings if method == "dpo" else settings[1:]
        said[method] = execute(make_run(method, *part), prepared, RunStore(tmp_path / method), lambda state: None)
    assert [said[method]["pairs_read"] for method in ("dpo", "rloo")] == [2 * pairs, 0]
    assert [summary["refinement_labels"] for summary in said.values()] == [6, 6]
    environment = json.loads((tmp_path / "dpo" / "environment.json").read_text(encoding="utf-8"))
    assert said["dpo"]["pairs_read"] / environment["data"]["pairs"] == 2.0


def test_zopros_zeroth_order_updates_cost_two_forwards(spent, shares):
    trained, _, share = shares
    warm, whole = spent("zopro", 2, "loop.iterations=2", "k=2", "zopro.epochs=1")
    tokens = (whole - warm) / (2 + share + 2)
    assert tokens == pytest.approx(round(tokens), abs=1e-3)
    assert warm / (2 + share + 2 + trained) == pytest.approx(round(warm / (2 + share + 2 + trained)), abs=1e-3)


class Clock:
    """Stands still, except where a test says what takes how long."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds, call):
        def timed(*args, **kwargs):
            self.now += seconds
            return call(*args, **kwargs)

        return timed


@pytest.fixture
def fake_run(prepared, make_run, tmp_path):
    """A run whose rollouts take 3 s, updates 1 s, refinements 40 s and evaluations 500 s."""
    def run(method, limit, iterations):
        assignments = ("budget.kind=seconds", f"budget.limit={limit}", f"loop.iterations={iterations}")
        clock, store = Clock(), RunStore(tmp_path / "run")
        execution = RunInProgress(make_run(method, *assignments, f"{method}.epochs=1"), prepared, store,
                                  lambda state: None, Meter(clock), clock)
        store.start({}, {})
        who = execution.who
        who.objective.collect = clock.taking(3, who.objective.collect)
        execution.estimator.step = clock.taking(1, execution.estimator.step)
        execution.refinement.refine = clock.taking(40, execution.refinement.refine)
        who.evaluator.evaluate = clock.taking(500, who.evaluator.evaluate)
        summary = execution.execute().as_row()
        updates = [json.loads(row) for row in (store.folder / "updates.jsonl").read_text().splitlines()]
        assert sum(summary["ledgers"].values()) == summary["wall_seconds"] == clock.now
        assert store.policy_update(iterations - 1)  # kept after every iteration, however many had updates
        return summary, updates

    return run


def test_a_budget_reached_exactly_has_no_overshoot_and_no_further_update(fake_run):
    summary, updates = fake_run("rloo", 16, 2)
    assert [row["iteration"] for row in updates] == [0, 0, 1, 1]
    assert summary["spent"]["seconds"] == 16 and summary["overshoot"]["amount"] == 0
    assert summary["ledgers"]["refine"] == 80 and summary["ledgers"]["evaluate"] % 500 == 0


def test_a_budget_that_ends_during_generation_lets_the_update_finish(fake_run):
    summary, updates = fake_run("rloo", 6, 1)  # 6 s: in the middle of the second rollout
    assert len(updates) == 2
    assert summary["spent"]["seconds"] == 8 and summary["overshoot"]["amount"] == 2


def test_a_budget_that_ends_inside_the_warm_start_leaves_no_zeroth_order_update(fake_run):
    summary, updates = fake_run("zopro", 3.5, 4)
    assert [row["iteration"] for row in updates] == [0] and "gradient_norm" in updates[0]
    assert summary["status"] == "done" and summary["overshoot"]["amount"] == 0.5
    assert summary["ledgers"]["refine"] == 160  # every iteration refines, for every method the same


def test_nothing_left_after_an_iteration_starts_no_update_in_it(fake_run):
    summary, updates = fake_run("rloo", 8, 4)  # slices of 2 s, updates of 4 s: every other slice is used up before
    assert [row["iteration"] for row in updates] == [0, 2]
    assert summary["spent"]["seconds"] == 8 and summary["overshoot"]["amount"] == 0
