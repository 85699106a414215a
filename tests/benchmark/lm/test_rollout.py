"""How a completion of a rollout ends: at a stop text, and what it costs to have no end."""

from __future__ import annotations

import contextlib

import pytest
import torch

from baselines.registry import METHODS, get_method
from benchmark.core.meter import Meter
from benchmark.lm.rollout import PromptStream, Sampler, endless, stopped
from benchmark.lm.sequences import Sequences

TEXTS = ("one. two. three", "one two", ". one")


@pytest.fixture
def rows(prepared):
    return prepared.encoder.rows([("English: a", text) for text in TEXTS], "cpu")


def test_a_completion_ends_with_the_token_that_completes_the_text(rows, prepared):
    found = stopped(rows, ".", prepared.encoder)
    texts = prepared.encoder.texts(found)
    assert [text.count(".") for text in texts] == [1, 0, 1] and texts[1] == prepared.encoder.texts(rows)[1]
    assert texts[0].startswith("one.") and "tw" not in texts[0]
    assert torch.equal(found.ids[:, : rows.prompt_length], rows.ids[:, : rows.prompt_length])
    assert (found.completion_mask.sum(1) <= rows.completion_mask.sum(1)).all()
    assert (found.mask[0].diff() == -1).sum() == 1  # nothing after the end
    longer = stopped(rows, "e. tw", prepared.encoder)  # over several tokens
    assert "e. tw" in prepared.encoder.texts(longer)[0]
    assert prepared.encoder.texts(longer)[1:] == prepared.encoder.texts(rows)[1:]
    assert torch.equal(stopped(rows, "nowhere", prepared.encoder).ids, rows.ids)


def test_what_has_no_end_is_known(prepared):
    rows = prepared.encoder.rows([("English: a", "one. two"), ("English: a", "one")], "cpu")
    open_end = rows.completion_ids.ne(prepared.encoder.eos) & rows.completion_mask.bool()
    cut = Sequences(rows.ids, torch.cat([rows.mask[:, : rows.prompt_length], open_end.long()], 1), rows.prompt_length)
    assert endless(cut, "", prepared.encoder).tolist() == [1, 1]
    assert endless(cut, ".", prepared.encoder).tolist() == [0, 1]
    assert endless(rows, "", prepared.encoder).sum() < 2  # the short one has its EOS


def rollout(prepared, **ending):
    meter = Meter()
    policy, reward = prepared.policy(meter, 0), prepared.reward(meter, 0)
    bodies = [prompt.text for prompt in prepared.data.prompts["train"]]
    sampler = Sampler(policy, reward, PromptStream(bodies, prepared.encoder, "p", 0), 1.0, "r", 0)
    for name, value in ending.items():
        setattr(sampler, name, value)
    return sampler.rollout(16, 2)


def test_a_penalty_is_taken_off_what_was_cut_and_a_stop_shortens_all_that_is_read(prepared):
    plain, punished = rollout(prepared), rollout(prepared, missing_eos_penalty=2.0)
    missing = endless(plain.sequences, "", prepared.encoder)
    assert missing.sum() > 0
    torch.testing.assert_close(punished.rewards, plain.rewards - 2 * missing)
    ended = rollout(prepared, stop="e")
    mask = ended.sequences.completion_mask
    assert mask.sum() < plain.sequences.completion_mask.sum()
    assert (ended.logprobs[mask == 0] == 0).all() and (ended.reference[mask == 0] == 0).all()


@pytest.mark.parametrize("name", ["rloo", "ppo", "online-dpo", "mezo", "zopro", "es"])
def test_every_objective_with_rollouts_hands_both_on(name):
    method = get_method(name)
    values = method.resolved({})
    assert (values["stop"], values["missing_eos_penalty"]) == ("", 0.0)

    class Stop(Exception):
        pass

    class Context:
        class sampler: ...

        def __getattr__(self, name):
            raise Stop

    context = Context()
    with contextlib.suppress(Stop):  # PPO asks for its critic
        method.make_objective(context, values | {"stop": "###", "missing_eos_penalty": 1.5})
    assert (context.sampler.stop, context.sampler.missing_eos_penalty) == ("###", 1.5)


def test_those_without_rollouts_have_neither():
    assert all("stop" not in METHODS[name].resolved({}) for name in ("dpo", "mezo-dpo"))
