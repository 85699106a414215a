"""r₀ and the judge: a head fitted on frozen features, and a judge with pairs of its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmark.core.errors import ConfigError, DataError, RunError
from benchmark.core.meter import Meter
from benchmark.core.sections import JudgeSettings, RewardTraining
from benchmark.lm.head import fit_head
from benchmark.plan.resolve import with_assignments
from benchmark.run.description import environment
from benchmark.start.build import prepare
from tests.conftest import TASK

HEAD = RewardTraining(parameters="head", ridge=1e-6)


class Features:
    """A reward model of which there are the features of its rows, by text, and the head."""

    def __init__(self, size):
        self.plain = SimpleNamespace(score=torch.nn.Linear(size, 1, bias=False))
        self.stream = np.random.default_rng(0)
        self.known = {}
        self.size = size

    def features(self, rows):
        return np.stack([self.known.setdefault(row, self.stream.normal(size=self.size) * [1, 10, 0.1, 0])
                         for row in rows])

    def scores(self, rows):
        return self.features(rows) @ self.plain.score.weight.detach().double().numpy()[0]


@pytest.mark.parametrize("scored", [[], [("p", f"s{i}", float(i % 5)) for i in range(200)]])
def test_the_head_is_the_minimum(scored):
    model = Features(4)
    pairs = [("p", f"a{i}", f"b{i}") for i in range(400)]
    pairs = [(p, a, b) if sum(model.features([(p, a)])[0][:3]) > sum(model.features([(p, b)])[0][:3]) else (p, b, a)
             for p, a, b in pairs]
    loss = fit_head(model, pairs, scored, HEAD)

    def value(weight):
        model.plain.score.weight.data = weight
        first, second = (model.scores([(pair[0], pair[side]) for pair in pairs]) for side in (1, 2))
        found = np.logaddexp(0, second - first).mean()
        if scored:
            found += ((model.scores([row[:2] for row in scored]) - [row[2] for row in scored]) ** 2).mean()
        return found

    best = model.plain.score.weight.data.clone()
    assert value(best) == pytest.approx(loss, rel=1e-3) and (scored or loss < 0.1)
    for place, step in enumerate((0.1, 0.01, 1.0)):
        for sign in (1, -1):
            other = best.clone()
            other[0, place] += sign * step
            assert value(other) > loss - 1e-3


def test_a_ridge_keeps_the_head_small():
    pairs = [("p", f"a{i}", f"b{i}") for i in range(50)]
    norms = []
    for ridge in (0.01, 1.0):
        model = Features(4)
        fit_head(model, pairs, [], replace(HEAD, ridge=ridge))
        norms.append(model.plain.score.weight.norm().item())
    assert norms[1] < 0.5 * norms[0]


def test_features_that_are_not_finite_are_said():
    model = Features(4)
    model.known[("p", "a")] = np.full(4, math.nan)
    with pytest.raises(RunError, match="not finite"):
        fit_head(model, [("p", "a", "b")], [], HEAD)


def built(toy_config, toy_sources, folder, *assignments):
    config = with_assignments(toy_config, ["validation_prompts=3", "test_prompts=3", *assignments], [])
    return prepare(folder, config, TASK, toy_sources[TASK].data, 0, lambda state: None)


def test_r0_of_a_head_alone_is_the_start_with_a_head(toy_config, toy_sources, tmp_path, make_run):
    prepared = built(toy_config, toy_sources, tmp_path / "x", "reward_model.parameters=head", "reward_model.steps=6")
    policy, reward = (load_file(prepared.folder / name / "model.safetensors") for name in ("policy", "reward"))
    for name in policy.keys() & reward.keys():
        assert torch.equal(policy[name], reward[name]), name
    assert reward["score.weight"].norm() > 0
    said = environment(make_run("rloo"), prepared)["preparation"]
    trained = built(toy_config, toy_sources, tmp_path / "y", "reward_model.steps=6")
    other = environment(make_run("rloo"), trained)["preparation"]
    assert said["reward_labels"] == other["reward_labels"] and said["reward_tokens"] < other["reward_tokens"] / 2
    assert said["reward_accuracy"] > 0.5 and math.isfinite(said["reward_loss"])
    assert prepared.reward(Meter(), 0).rereads is False  # it is used as any other


def test_a_judge_with_pairs_of_its_own(toy_config, toy_sources, tmp_path):
    kept = {}
    for share in (0.0, 0.4):
        prepared = built(toy_config, toy_sources, tmp_path / str(share), "judge.kind=reward_model", "judge.steps=3",
                         f"judge.own_pairs={share}", "judge.parameters=head")
        pairs = json.loads((prepared.folder / "data.json").read_text(encoding="utf-8"))["pairs"]
        kept[share] = {tuple(pair) for pair in pairs}
        judge = json.loads((prepared.folder / "preparation.json").read_text(encoding="utf-8"))["judge"]
        assert ("accuracy" in judge, "accuracy_seen" in judge) == (bool(share), not share)
    assert kept[0.4] < kept[0.0] and judge["own_pairs"] + len(kept[0.4]) >= len(kept[0.0])
    assert {pair[0] for pair in kept[0.4]}.isdisjoint({pair[0] for pair in kept[0.0] - kept[0.4]})
    with pytest.raises(DataError, match=r"judge.own_pairs = 1e-09 leaves the judge no pair"):
        built(toy_config, toy_sources, tmp_path / "none", "judge.own_pairs=1e-9")
    with pytest.raises(ConfigError, match="below 1"):
        JudgeSettings(own_pairs=1.0)
