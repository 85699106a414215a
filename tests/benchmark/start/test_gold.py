"""What a gold score is measured against: answers that need no model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.run.description import environment
from benchmark.run.prepared import Prepared
from benchmark.start.build import prepare
from benchmark.start.gold import CANDIDATES, scale
from tasks.examples import Prompt
from tests.conftest import TASK


def prompts(*numbers: int) -> list[Prompt]:
    return [Prompt(str(number), str(number + 1)) for number in numbers]


def near(prompt: str, completion: str) -> float:
    """1 for the number after the prompt's, less for others."""
    return max(0.0, 1 - abs(int(prompt) + 1 - int(completion)) / 10)


def test_the_constant_is_chosen_on_validation_prompts_and_scored_on_test_prompts():
    demonstrations = [("0", "0"), ("4", "5"), ("6", "5"), ("9", "9")]
    found = scale(near, demonstrations, {"validation": prompts(4, 4, 5), "test": prompts(8, 9)})
    assert found == {"constant": pytest.approx((0.6 + 0.5) / 2), "copy": pytest.approx(0.9), "references": 1.0,
                     "demonstrations": pytest.approx((0.9 + 1.0 + 0.8 + 0.9) / 4)}


def test_only_so_many_constants_are_tried():
    texts = [("0", str(number)) for number in range(100, 100 + CANDIDATES)]
    assert scale(near, [*texts, ("0", "5")], {"validation": prompts(4), "test": prompts(4)})["constant"] == 0.0
    assert scale(near, [("0", "5"), *texts], {"validation": prompts(4), "test": prompts(4)})["constant"] == 1.0


def test_a_preparation_tells_every_run_its_scale(prepared, make_run, toy_sources):
    said = environment(make_run("rloo"), prepared)["preparation"]
    found = said["gold_scale"]
    assert 0 <= found["copy"] < found["constant"] < found["references"] == 1 and 0 < found["demonstrations"] < 1


def test_rows_without_gold_have_no_scale(toy_config, toy_sources, tmp_path, make_run):
    data = replace(toy_sources[TASK].data, gold=None)
    config = replace(toy_config, judge=replace(toy_config.judge, steps=2))
    prepare(tmp_path / "x", config, TASK, data, 0, lambda state: None)
    said = environment(make_run("rloo"), Prepared(tmp_path / "x", config, TASK))["preparation"]
    assert "gold_scale" not in said and said["reward_labels"] > 0
