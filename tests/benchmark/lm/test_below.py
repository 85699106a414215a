"""What lies below the first trained parameter is computed once for all readings of a batch; nothing else changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from baselines.contract import Progress
from benchmark.core.meter import Meter
from benchmark.core.sections import Adapter
from benchmark.lm.adapted import Adapted
from benchmark.lm.policy import Policy
from benchmark.lm.trained import add_adapter
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared
from benchmark.run.problem import BatchProblem

NORM = ("adapter.kind=norms", r"adapter.only=^model\.norm\.")
UPPER = ("adapter.kind=lora", r"adapter.only=layers\.1\.")
UPPER_NORMS = ("adapter.kind=norms", r"adapter.only=layers\.1\.post|^model\.norm\.")
FULL = ("adapter.kind=full",)
LORA = ()
CASES = {"norm": NORM, "upper": UPPER, "upper norms": UPPER_NORMS, "full": FULL, "lora": LORA}
START = Progress(0.0, 0.0)


@pytest.fixture
def who(toy_folder, toy_config, make_run):
    """``who(method, case, *assignments)`` → the participants of a run; the toy's start is that of all adapters."""
    def make(method, case, *assignments):
        run = make_run(method, *CASES[case], *assignments)
        return Participants(run, Prepared(toy_folder, run.config, run.task), Meter())

    return make


class Past:
    """Made-up updates of earlier iterations, for methods that look back."""

    def __init__(self, parameters):
        self.parameters = parameters

    def policy_update(self, iteration):
        return {name: torch.sin(torch.arange(p.numel()) + 1.0).view_as(p) for name, p in self.parameters.items()}

    reward_update = policy_update


def calls(backbone):
    """The list that gets an entry whenever a layer, or the norm after them, is really computed."""
    seen = []
    for place, layer in enumerate(backbone.layers):
        layer.register_forward_hook(lambda *_, place=place: seen.append(place))
    return seen


def updated(who, monkeypatch, shared, updates=2, epochs=2):
    """Losses, figures and parameters after some updates, each batch read again ``epochs`` times."""
    if not shared:
        monkeypatch.setattr(Adapted, "rereads", False)
        monkeypatch.setattr(Adapted, "_repeats", lambda self, sequences: False)
    estimator, rows = who.new_estimator(False), []
    estimator.begin_iteration(1, Past(who.policy.parameters))
    for _ in range(updates):
        batch = who.objective.collect()
        for _ in range(epochs):
            rows.append(estimator.step(BatchProblem(who.objective, batch, 4), START).row())
    monkeypatch.undo()
    return rows, who.policy.state()


@pytest.mark.parametrize(("method", "case"), [
    *itertools.product(["mezo", "fzoo", "mezo-dpo", "zopro", "rloo", "ppo", "forward-gradient"], ["norm", "upper"]),
    *itertools.product(["mezo"], ["upper norms", "full", "lora"])])
def test_updates_are_those_of_the_plain_way(method, case, who, monkeypatch):
    values = [f"{method}.lr=1e-3"]
    mine, ours = updated(who(method, case, *values), monkeypatch, True)
    plain, theirs = updated(who(method, case, *values), monkeypatch, False)
    moved = 0.0
    start = who(method, case).policy.state()
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6), name
        moved = max(moved, (ours[name] - start[name]).abs().max().item())
    assert moved > 0
    for one, other in zip(mine, plain, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5, abs=2e-6)


@pytest.mark.parametrize(("case", "first", "again"), [
    ("norm", [0, 1], []), ("upper", [0, 1], [1]), ("upper norms", [0, 1], [1]), ("full", [0, 1], [0, 1]),
    ("lora", [0, 1], [0, 1])])
def test_only_what_is_above_is_computed_again(case, first, again, who):
    some = who("mezo", case)
    problem = BatchProblem(some.objective, replace(some.objective.collect()), 100)
    problem.value()  # whatever a model is found to be has been found
    fresh = BatchProblem(some.objective, replace(problem.batch, parts=tuple(
        part.select(slice(None), trim=False).kept() for part in problem.batch.parts)), 100)
    seen = calls(some.policy.plain.base_model)
    fresh.value()
    assert seen == first
    seen.clear()
    fresh.value()
    assert seen == again


def test_a_rollout_computes_them_once_with_its_reference(who):
    """π₀ differs above only, and micro-batches of one reading are those of the next."""
    some = who("mezo", "norm")
    some.objective.collect()
    seen = calls(some.policy.plain.base_model)
    batch = some.objective.collect()
    seen.clear()
    BatchProblem(some.objective, batch, 100).value()
    assert seen == []
    BatchProblem(some.objective, batch, 3).value()
    parts = len(batch.split(3))
    assert parts > 1 and seen == [0, 1] * parts
    BatchProblem(some.objective, batch, 3).backward()
    assert seen == [0, 1] * parts


def test_gradients_are_those_of_the_plain_way(who):
    some = who("rloo", "upper")
    problem = BatchProblem(some.objective, some.objective.collect(), 3)
    for p in some.policy.parameters.values():
        p.data.add_(0.02 * torch.randn_like(p))

    def gradients():
        for p in some.policy.parameters.values():
            p.grad = None
        problem.backward()
        return {name: p.grad.clone() for name, p in some.policy.parameters.items()}

    problem.value()
    ours = gradients()
    some.policy.rereads = False
    for name, theirs in gradients().items():
        assert torch.allclose(ours[name], theirs, rtol=1e-5, atol=1e-7) and theirs.abs().max() > 0, name


def test_what_is_computed_is_counted_and_what_is_booked_stays(who):
    def spent(case, again):
        some = who("mezo", case)
        with some.policy.meter.ledger("rollout"):
            problem = BatchProblem(some.objective, some.objective.collect(), 100)
        before = some.policy.meter.spent()
        with some.policy.meter.ledger("update"), torch.no_grad():
            for _ in range(again):
                problem.value()
        after = some.policy.meter.spent()
        return [after[name] - before[name] for name in ("forward_tokens", "computed_tokens")], some.policy

    (booked, computed), policy = spent("norm", 2)
    (plain_booked, plain_computed), _ = spent("lora", 2)
    assert booked == plain_booked
    assert computed == pytest.approx(plain_computed * policy._below.share, rel=1e-4) and computed < booked
    head = policy.plain.get_output_embeddings().weight.numel() + policy.plain.base_model.norm.weight.numel()
    layers = sum(p.numel() for p in policy.plain.base_model.layers.parameters())
    assert policy._below.share == pytest.approx(head / (head + layers))


@pytest.mark.parametrize(("architecture", "only", "depth"), [
    ("gpt2", r"ln_f", 2), ("gpt2", r"h\.1\.", 1), ("gpt2", r"wpe|h\.1", 0), ("opt", r"layers\.1\.fc1", 1),
    ("opt", r"embed_positions", 0), ("qwen2", r"layers\.1\.mlp", 1), ("qwen2", r"^model\.norm", 2),
    ("qwen2", r"embed_tokens", 0)])
def test_other_architectures_are_looked_at_and_not_known_by_name(architecture, only, depth, prepared):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
        "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
                "word_embed_proj_dim": 16},
        "qwen2": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
                  "intermediate_size": 32},
    }[architecture]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        architecture, vocab_size=len(prepared.encoder.tokenizer), tie_word_embeddings=False, **sizes))
    policy = Policy(add_adapter(model, Adapter(kind="full", only=only)), prepared.encoder, Meter(), 8)
    rows = prepared.encoder.rows([("the cat", " sat on the mat"), ("a", " dog"), ("it is", " so")], policy.device)
    rows = rows.kept()
    with torch.no_grad():
        first, again = policy.logprobs(rows), policy.logprobs(rows)
        for p in policy.parameters.values():
            p.add_(0.1 * torch.randn_like(p))
        moved = policy.logprobs(rows)
        policy.rereads = False
        assert torch.allclose(policy.logprobs(rows), moved, atol=1e-5)
    assert torch.allclose(first, again, atol=1e-6) and not torch.allclose(moved, first, atol=1e-3)
    assert policy._below.depth == depth and bool(rows.known) is (depth > 0)


def test_a_model_that_does_more_than_its_layers_say_is_read_the_plain_way(who):
    """The same numbers are asked for, and not taken for granted."""
    some = who("mezo", "upper")

    class Counting(nn.Module):
        def forward(self, hidden):
            return hidden * (1 + 1e-3 * next(self.numbers))

        numbers = itertools.count(1)

    some.policy.plain.base_model.norm = Counting()
    some.policy.found["plain_head"] = True  # what is looked at here are the states below it
    batch = some.objective.collect()
    assert some.policy.found["repeats"] is False and not batch.parts[0].known
