"""The bench measures what it says: parts that add up, costs as documented, ratios and slopes as by hand. No timings."""

from __future__ import annotations

import json

import pytest
import torch

from benchmark.cli import main
from benchmark.core.errors import ConfigError
from benchmark.studies.speed import analysis, bare_calls, driver, memory, plan, stopwatch
from benchmark.studies.speed.measure import time_figure, time_method
from benchmark.studies.speed.plan import ALL, NORM, QUERIES, WARM_START, Figure
from benchmark.studies.speed.world import END, World, bodies, made_up_pairs, word_tokenizer
from tests.benchmark.studies.speed.conftest import SMALL, figure

# TRL and peft still ask transformers for this property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

ONLINE = {"generate", "reference", "score"}
FIRST = {"forward", "backward", "optimizer"}


# What is measured


def test_every_main_method_has_its_figures_and_the_controls_theirs(config):
    figures, notes = plan.make_figures(config, "tiny", plan.DEFAULT_PARTS)
    keys = [item.key for item in figures]
    for name in ("rloo", "ppo", "online-dpo", "dpo", "mezo", "mezo-dpo", "zopro", "zopro/warm-start", "zopro/all"):
        assert f"methods/{name}" in keys
    assert "floors/generate" in keys and "floors/forward/all" in keys and "floors/generate/all" not in keys
    assert ("peers/trl-rloo" in keys) != bool(notes) and len(set(keys)) == len(keys)
    assert [f.key for f in plan.make_figures(config, "tiny", ["methods"], ["zopro-random"])[0]] == [
        "methods/zopro-random/warm-start", "methods/zopro-random", "methods/zopro-random/all"]
    for item in figures:
        assert Figure.from_dict(json.loads(json.dumps(item.as_dict()))) == item


def test_without_trl_a_note_says_so(config, monkeypatch):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    figures, notes = plan.make_figures(config, "tiny", ["peers"])
    assert figures == [] and "TRL is not installed" in notes[0]
    with pytest.raises(ConfigError, match="TRL is not installed"):
        driver.bench("tiny", ["peers"], None, 1, config, lambda line: None)


def test_sweeps_change_one_thing_at_a_time_and_share_the_middle():
    config = plan.configure("tiny")
    figures = plan.sweep_figures(config, "tiny", 1, 1)
    assert len({item.key for item in figures}) == len(figures) == 3 * (1 + 3 + 3 + 3 + 3 + 3)
    values = {axis: [value for value, _ in plan.sweep_points(config, "tiny", axis)] for axis in plan.AXES}
    assert values == {"width": [96, 192, 384, 768], "depth": [1, 2, 4, 8], "rank": [2, 8, 32, 0],
                      "batch": [16, 32, 64, 128], "length": [8, 16, 32, 64]}
    wide = next(item.config for item in figures if item.point == "width=768").model
    assert (wide.heads, wide.kv_heads, wide.intermediate_size, wide.layers) == (24, 8, 2048, 2)
    large = plan.configure("1b")
    assert [value for value, _ in plan.sweep_points(large, "1b", "depth")] == [8, 16]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--repeats", "0"], ["--repeats", "1 or more"]),
    (["--threads", "0"], ["--threads", "1 or more"]),
    (["--size", "1B"], ["unknown size", "Did you mean 1b"]),
    (["--what", "flors"], ["unknown part of the bench", "Did you mean floors"]),
    (["--method", "zoppro"], ["unknown method 'zoppro'"]),
    (["--device", "cuda:9"], ["--device cuda:9", "Try --device cpu"]),
    (["--set", "rank=0"], ["--set rank=0: ", "say adapter.kind=full"]),
    (["--set", "adapter.kind=full"], ["Leave adapter.kind at lora"]),
    (["--set", "model.path=x"], ["Leave model.path out"]),
    (["--set", "heads=5"], ["model.heads = 5"]),
    (["--set", "sequences_per_update=6"], ["sequences_per_update = 6", "k = 4"]),
    (["--method", "dpo", "--set", "sequences_per_update=7"], ["not a multiple"]),
    (["--set", "layers=0"], ["at least 1"]),
])
def test_a_wrong_request_is_answered(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "measure_all", lambda *_: pytest.fail("measured"))
    assert main(["bench", *arguments, "--out", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and all(word in complaint for word in words), complaint


# The made-up world


def test_lengths_are_certain_and_text_comes_back_as_it_was(config):
    world = World(config, 2)
    prompts = [world.encoder.prompt(body) for body in world.bodies]
    assert {len(prompt) for prompt in prompts} == {6, 7, 8, 9}
    sampled, _ = world.policy.generate(prompts, 1.0, "test")
    assert sampled.completion_mask.all() and sampled.completion_ids.shape == (16, 4)
    assert sampled.ids.max() < 300 == world.encoder.eos
    for sequences in (world.finished(4), world.encoder.pad_rows(prompts, [[5]] * 16, "cpu")):
        tokenizer = world.encoder.tokenizer
        texts = [tokenizer.decode(row, skip_special_tokens=True) for row in sequences.completion_ids]
        assert tokenizer(texts, add_special_tokens=False)["input_ids"] == sequences.completion_ids.tolist()
    assert world.finished(4).completion_mask.all()
    _, chosen, rejected = world.pairs[0]
    assert len(world.encoder.completion(chosen)) == len(world.encoder.completion(rejected)) == 4
    assert world.encoder.eos not in world.encoder.completion(chosen)


def test_models_are_wrapped_as_prepared_ones_are(prepared, config):
    from dataclasses import replace

    shape = replace(prepared.config, execution=config.execution)
    world, theirs = World(shape, 1), prepared.policy(prepared_meter(), 0)
    reward = prepared.reward(prepared_meter(), 0, policy=theirs)
    for ours, real in ((world.policy, theirs), (world.reward, reward)):
        assert {k: (p.shape, p.dtype) for k, p in ours.parameters.items()} == {
            k: (p.shape, p.dtype) for k, p in real.parameters.items()}
        assert ours.batch == real.batch and ours.share == pytest.approx(real.share, rel=0.05)


def prepared_meter():
    from benchmark.core.meter import Meter

    return Meter()


# Time


@pytest.mark.parametrize(("name", "variant", "parts", "rollout", "update"), [
    ("rloo", "", ONLINE | FIRST, 3, 2), ("ppo", "", ONLINE | FIRST | {"critic"}, 4, 4),
    ("online-dpo", "", ONLINE | FIRST, 3, 2), ("dpo", "", {"reference"} | FIRST, 1, 2),
    ("mezo", "", ONLINE | {"forward"}, 3, 2), ("mezo", ALL, ONLINE | {"forward"}, 3, 2),
    ("mezo", NORM, ONLINE | {"forward"}, 3, 2), ("mezo", QUERIES, ONLINE | {"forward"}, 3, 16),
    ("mezo-dpo", "", {"reference", "forward"}, 1, 2), ("zopro", WARM_START, ONLINE | FIRST, 3, 2),
    ("zopro", "", ONLINE | {"forward"}, 3, 2), ("zopro", ALL, ONLINE | {"forward"}, 3, 2),
])
def test_an_update_is_split_into_parts_that_add_up_and_cost_what_is_documented(config, name, variant, parts, rollout,
                                                                                update):
    item = figure(config, "methods", name, variant)
    result = time_method(item)
    found = result["parts"]
    assert set(found) == parts | {"other_rollout", "other_update"} <= set(stopwatch.COMPONENTS)
    assert all(found[part] > 0 for part in parts) and sum(found.values()) == pytest.approx(result["seconds"])
    assert result["rollout"] + result["update"] == pytest.approx(result["seconds"]) and result["floor"] > 0
    assert 0 <= analysis.overhead(result) <= 1 and len(result["each"]) == 1

    world = World(item.config, 1)
    s, t = world.reward.share, world.policy.trained if "backward" in parts else 0.0
    tokens = result["batch_tokens"]
    more = {"ppo": (2 * (s - 1), 2 * (s - 1) + s * world.new_reward("critic").trained)}.get(name, (0, 0))
    scored = (s - 1) * ("score" in parts and name != "ppo")
    assert result["tokens"]["rollout"] / tokens == pytest.approx(rollout + scored + more[0])
    assert result["tokens"]["update"] / tokens == pytest.approx(update + t + more[1])
    assert sum(result["part_tokens"].values()) == pytest.approx(sum(result["tokens"].values()))


def test_the_size_for_a_gpu_can_be_rehearsed():
    config = plan.configure("1b", [*SMALL, "backward_batch=4"])
    assert config.model.dtype == "bfloat16" and config.adapter.alpha == 128
    for item in (figure(config, "methods", "zopro"), figure(config, "methods", "rloo"),
                 figure(config, "floors", "generate"), figure(config, "floors", "forward-backward", ALL)):
        assert time_figure(item)["seconds"] > 0
    assert World(config, 1).policy.model.dtype == torch.bfloat16


def test_floors_leave_nothing_behind(config):
    for variant in ("", ALL):
        world = World(figure(config, "floors", "forward", variant).config, 1)
        state, sequences = world.policy.state(), world.finished(4)
        for call in bare_calls.CALLS.values():
            call(world, sequences)
        assert all(torch.equal(value, state[name]) for name, value in world.policy.parameters.items())
        assert all(p.grad is None for p in world.policy.model.parameters()) and not sum(world.meter.tokens.values())


def test_trl_makes_the_same_rows(config):
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from accelerate.state import AcceleratorState

    from benchmark.studies.speed import trl_reference

    try:
        for name in plan.PEERS:
            result = trl_reference.time_peer(Figure("peers", name, "", config, 0, 2))
            assert len(result["each"]) == 2 and min(result["each"]) > 0
        trainer = trl_reference.make_trainer(Figure("peers", "trl-rloo", "", config, 0, 1), "unused")
        assert isinstance(trainer, trl.RLOOTrainer)
        rows = [trainer.train_dataset[i] for i in range(2) for _ in range(4)]
        made = trainer._generate_and_score_completions(rows)
        world = World(config, 1)
        prompts = [world.encoder.prompt(body) for body in world.bodies[:2] for _ in range(4)]
        assert [row[mask.bool()].tolist() for row, mask in zip(made["prompt_ids"], made["prompt_mask"], strict=True)
                ] == prompts
        assert made["completion_mask"].shape == (8, 4) and made["completion_mask"].all()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_pairs_for_trl_end_with_an_eos_that_its_model_knows(config):
    tokenizer = word_tokenizer(config.model.vocabulary, END)
    _, chosen, _ = made_up_pairs(config, bodies(config, 1), 3)[0]
    ids = tokenizer(chosen + END)["input_ids"]
    assert len(ids) == 4 and ids[-1] == tokenizer.eos_token_id == 2 and 0 not in ids


# Memory


def test_peaks_come_from_the_events_of_their_phase():
    def event(moment, size):
        return {"name": "[memory]", "ph": "i", "ts": moment, "args": {"Bytes": size * memory.MIB}}

    def phase(name, start, end):
        return {"name": memory.MARK + name, "ph": "X", "ts": start, "dur": end - start}

    events = [event(9, -8), event(1, 2), event(3, 5), event(4, -3), event(7, 8), phase("update", 6, 10),
              phase("rollout", 2, 5), phase("rollout", 0, 2), {"name": "other", "ph": "X", "ts": 0, "dur": 99}]
    assert memory.peaks_of(events) == {"rollout": 7.0, "update": 12.0}


def test_a_zeroth_order_update_holds_no_activations():
    """Tensors are counted exactly: a zeroth-order update holds z beside what inference holds, and at most three copies
    of the adapter in all; a backward pass is far above."""
    config = plan.configure("tiny", ["layers=1", "vocabulary=300", "sequences_per_update=8", "max_new_tokens=8"])
    extra, trained = {}, 0.0
    for name in ("mezo", "rloo"):
        world = World(config, 3)
        world.policy.found["packing"] = False  # prompts read as often as in the bare forward
        peaks, trained = memory.tensor_peaks(world, figure(config, "methods", name)), world.policy.parameters.values()
        extra[name] = peaks["update"] - peaks["inference"]
        assert peaks["rollout"] > 0
    copy = memory.mebibytes(trained)
    assert 0.95 * copy <= extra["mezo"] <= 3 * copy < extra["rloo"]


def test_memory_is_told_for_tensors_and_for_the_process(config):
    found = memory.memory_figure(figure(config, "floors", "forward"))
    assert found["tensors"]["update"] > 0 and found["policy"] > found["trained"] > 0
    assert found["system"] is None or found["system"]["update"] >= 0
