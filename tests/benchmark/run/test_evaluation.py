"""The fixed evaluator and the preparation it rests on."""

from __future__ import annotations

import json

import pytest
import torch

from benchmark.core.errors import DataError
from benchmark.core.meter import Meter
from benchmark.lm.rollout import PromptStream, Sampler
from benchmark.plan.resolve import with_assignments
from benchmark.run.evaluation import Evaluator, load_starts
from benchmark.run.prepared import preparation_key
from benchmark.start.build import prepare


@pytest.fixture
def models(prepared):
    meter = Meter()
    policy = prepared.policy(meter, 0)
    return policy, prepared.reward(meter, 0, policy=policy)


def shift(model, by):
    with torch.no_grad():
        for p in model.parameters.values():
            p.add_(by * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))


def test_the_start_evaluates_to_the_stored_baseline(prepared, models):
    policy, reward = models
    starts = load_starts(prepared.folder / "baseline.json")
    evaluator = Evaluator(prepared, reward.state(), 0, starts)
    for split in ("validation", "test"):
        again = evaluator.evaluate(policy, reward, split)
        assert again == starts[split].metrics
        assert again["win_rate"] == 0.5 and again["kl"] == again["reward_se"] == 0 and again["ess"] == 1
        assert {"reward", "current_reward", "gold", "length", "ended", "chrf", "bleu"} <= set(again)


def test_reward_is_that_of_the_frozen_initial_model(prepared, models):
    policy, reward = models
    evaluator = Evaluator(prepared, reward.state(), 0, load_starts(prepared.folder / "baseline.json"))
    before = evaluator.evaluate(policy, reward, "validation")
    shift(reward, 0.1)
    moved = reward.state()
    after = evaluator.evaluate(policy, reward, "validation")
    assert after["reward"] == before["reward"]
    assert after["current_reward"] != before["current_reward"]
    assert all(torch.equal(moved[name], p) for name, p in reward.parameters.items())


def test_evaluation_does_not_disturb_training(prepared, models):
    """The rollouts of a run are the same however often it is evaluated."""
    policy, reward = models
    evaluator = Evaluator(prepared, reward.state(), 0, load_starts(prepared.folder / "baseline.json"))
    bodies = [p.text for p in prepared.data.prompts["train"]]

    def rollouts(evaluations):
        sampler = Sampler(policy, reward, PromptStream(bodies, prepared.encoder, "p", 0), 1.0, "r", 0)
        ids = []
        for _ in range(2):
            ids.append(sampler.rollout(4, 2).sequences.ids)
            for _ in range(evaluations):
                evaluator.evaluate(policy, reward, "validation")
        return ids

    assert all(torch.equal(a, b) for a, b in zip(rollouts(0), rollouts(2), strict=True))


def test_no_training_prompt_is_evaluated(prepared):
    prompts = {split: {p.text for p in rows} for split, rows in prepared.data.prompts.items()}
    assert not prompts["train"] & (prompts["validation"] | prompts["test"])
    assert not prompts["validation"] & prompts["test"]


def test_a_preparation_records_where_it_comes_from(prepared):
    info = prepared.info
    assert info["source"] == "bundled" and len(info["revision"]) == 16
    assert info["special_tokens"]["eos"] != info["special_tokens"]["pad"]
    assert 0 <= info["reward_accuracy"] <= 1 and info["held_out_pairs"] > 0
    assert not list(prepared.folder.parent.glob("*.part"))


def test_the_same_preparation_is_built_twice_alike(toy_config, toy_sources, prepared, tmp_path):
    again = prepare(tmp_path / "wmt20_mlqe__s0__again", toy_config, "wmt20_mlqe", toy_sources["wmt20_mlqe"].data, 0,
                    lambda state: None)
    for name in ("policy/model.safetensors", "reward/model.safetensors", "baseline.json", "tokenizer/tokenizer.json"):
        assert (again.folder / name).read_bytes() == (prepared.folder / name).read_bytes(), name


def test_the_key_changes_with_what_changes_the_content(toy_config):
    key = preparation_key(toy_config, "t", 0, {"revision": "a"})
    assert key == preparation_key(with_assignments(toy_config, ["workers=5", "budget.limit=9"], []), "t", 0,
                                  {"revision": "a"})
    changed = [(["sft.steps=11"], 0, "a"), (["test_prompts=5"], 0, "a"), (["threads=2"], 0, "a"), ([], 1, "a"),
               ([], 0, "b")]
    keys = {preparation_key(with_assignments(toy_config, s, []), "t", seed, {"revision": r}) for s, seed, r in changed}
    assert key not in keys and len(keys) == len(changed)


def test_prompts_that_do_not_fit_are_dropped_and_counted(toy_config, toy_sources, tmp_path):
    config = with_assignments(toy_config, ["long_prompts=drop", "max_prompt_tokens=20"], [])
    data = toy_sources["wmt20_mlqe"].data
    done = prepare(tmp_path / "wmt20_mlqe__s0__drop", config, "wmt20_mlqe", data, 0, lambda state: None)
    kept = sum(len(rows) for rows in done.data.prompts.values())
    assert done.info["long_prompts"] > 0 and kept < sum(len(rows) for rows in data.prompts.values())
    assert all(done.encoder.fits(p.text) for rows in done.data.prompts.values() for p in rows)
    with pytest.raises(DataError, match=r"max_prompt_tokens = 5.*raise the limit"):
        prepare(tmp_path / "wmt20_mlqe__s0__none", with_assignments(config, ["max_prompt_tokens=5"], []), "wmt20_mlqe",
                data, 0, lambda state: None)
    assert [p.name for p in tmp_path.iterdir()] == ["wmt20_mlqe__s0__drop"]
    assert json.loads((done.folder / "data.json").read_text())["pairs"]
